"""Keeps the classifier's processes running on one listening socket.

The processes inherit the socket, and the kernel shares connections out among them. While at least
one lives, the socket stays open: connections wait for it. When the last one has died, the socket is
closed, so that an Envoy is refused at once instead of waiting, and opened again with the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Protocol

from control_plane.classifier.options import VARIABLE, PortOptions
from control_plane.classifier.worker.directory import (
    WORKER_MODULE,
    beat,
    note_worker,
    still_for_s,
)
from control_plane.names import EDGE_SECRET_HEADER
from control_plane.process.listening import bind, port_of
from control_plane.process.restart_delay import RestartDelay

log = logging.getLogger(__name__)
START_S = 30.0
"""How long a worker may take until it answers."""
STOP_S = 2.0
"""How long a worker may take to end before it is killed."""
MAX_RESTART_S = 5.0
"""The longest delay of a restart: trying again costs less than the requests that are refused while
there is no worker."""
CALM_S = 10.0
"""A worker that has lived this long has started well: the next restart is as quick as the first."""
HUNG_S = 5.0
"""A worker that has done nothing for so long hangs. It does not count as running."""
LOOK_S = 1.0
"""How often the workers are looked at."""


class Observer(Protocol):
    """Is told what happens to workers, for metrics."""

    def workers(self, running: int, wanted: int) -> None:
        """Record how many workers run now and don't hang, and how many should."""

    def worker_restarted(self) -> None:
        """Record that a worker had died and was started again."""


class Workers:
    """Worker processes in numbered slots; one that dies is started again after a `RestartDelay`."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        count: int,
        database_url: str,
        redis_url: str | None = None,
        options: PortOptions,
        secret: str,
        directory: Path,
        restart_s: float,
        observer: Observer,
        setting: str = "another port",
    ) -> None:
        """Take the port; no worker runs yet.

        Args:
            host: Where they listen.
            port: The port that they share; 0: any free one.
            count: How many there are.
            database_url: Where they read the topology.
            redis_url: Where they share look-ups, if they do.
            options: How the port treats those who connect.
            secret: The edges' secret, for the question that tells whether a worker answers.
            directory: Where counts and process ids go, see `worker.directory`.
            restart_s: The first `RestartDelay`; 0: a worker that has died is not started again.
            observer: Is told how many run.
            setting: What to change if the port is taken, for the message.

        Raises:
            OSError: the port is taken.
        """
        self._host = host
        self._count = count
        self._environment = os.environ | {
            # In the environment, because other users can read a process's arguments.
            "CELLWAY_DATABASE_URL": database_url,
            "PROMETHEUS_MULTIPROC_DIR": str(directory),
            VARIABLE: options.as_text(),
        }
        self._secret = secret
        self._tls = None if options.tls_certificate is None else _unchecked_tls()
        if redis_url is not None:
            self._environment["CELLWAY_REDIS_URL"] = redis_url
        self._directory = directory
        self._restart_s = restart_s
        self._observer = observer
        self._stopping = False
        self._hung: frozenset[int] = frozenset()
        """The slots whose workers hang, when they were looked at last."""
        self._socket: socket.socket | None = bind(host, port, setting)
        self.port = port_of(self._socket)
        self.processes: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        """Start all workers, and wait until one answers.

        Raises:
            ChildProcessError: all have ended before one answered.
            TimeoutError: none answers within `START_S`.
        """
        for slot in range(self._count):
            self.processes.append(await self._spawn(slot))
        self._observe()
        answer: asyncio.Future[None] = asyncio.create_task(self._first_answer())
        ends: asyncio.Future[list[int]] = asyncio.gather(
            *(process.wait() for process in self.processes)
        )
        try:
            async with asyncio.timeout(START_S):
                await asyncio.wait((answer, ends), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ChildProcessError(f"the classifier's processes have ended: {ends.result()}")
            await answer
        finally:
            answer.cancel()
            ends.cancel()
            await asyncio.gather(answer, ends, return_exceptions=True)

    async def _first_answer(self) -> None:
        """Wait until a worker answers a request."""
        reader, writer = await asyncio.open_connection(self._host, self.port, ssl=self._tls)
        head = f"GET / HTTP/1.1\r\nhost: ready\r\n{EDGE_SECRET_HEADER}: {self._secret}"
        with contextlib.closing(writer):
            writer.write(f"{head}\r\nconnection: close\r\n\r\n".encode("ascii"))
            await reader.readline()

    async def run(self) -> None:
        """Restart workers that die, and look for those that hang, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look())
            for slot in range(self._count):
                group.create_task(self._supervise(slot))

    async def stop(self) -> None:
        """End all workers; kill those that do not end within `STOP_S`."""
        self._stopping = True
        if self._socket is not None:
            self._socket.close()
        for process in self.processes:
            if process.returncode is None:
                process.terminate()
        for process in self.processes:
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    async def _supervise(self, slot: int) -> None:
        """Restart the worker of a slot whenever it has ended."""
        delay = RestartDelay(self._restart_s, MAX_RESTART_S, CALM_S)
        while True:
            started = time.monotonic()
            code = await self.processes[slot].wait()
            if self._stopping:
                return
            self._observe()
            self._refuse_if_last()
            if self._restart_s == 0:
                log.error(
                    "classifier %d ended with %d; no restart, because classifier_restart_s is 0",
                    slot,
                    code,
                )
                return
            delay_s = delay.after(time.monotonic() - started)
            log.error("classifier %d ended with %d; restart in %.1f s", slot, code, delay_s)
            await asyncio.sleep(delay_s)
            try:
                self.processes[slot] = await self._spawn(slot)
            except OSError:
                # Another program has the port meanwhile, or there is no room for a process.
                log.exception("classifier %d can't be started", slot)
                continue
            self._observer.worker_restarted()
            self._observe()

    async def _look(self) -> None:
        """Look for workers that hang: they still take connections, and answer none."""
        while not self._stopping:
            hung = frozenset(slot for slot in range(self._count) if self._hangs(slot))
            for slot in hung - self._hung:
                pid = self.processes[slot].pid
                log.error(
                    "classifier %d (process %d) hangs: it has done nothing for %g s",
                    slot,
                    pid,
                    HUNG_S,
                )
            for slot in self._hung - hung:
                if self.processes[slot].returncode is None:
                    log.warning("classifier %d hangs no longer", slot)
            if hung != self._hung:
                self._hung = hung
                self._observe()
            await asyncio.sleep(LOOK_S)

    def _hangs(self, slot: int) -> bool:
        lives = self.processes[slot].returncode is None
        return lives and still_for_s(self._directory, slot) > HUNG_S

    def _refuse_if_last(self) -> None:
        """Close the socket if no worker is left, so that connections are refused at once."""
        if self._running == 0 and self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _spawn(self, slot: int) -> asyncio.subprocess.Process:
        """Start a worker; raise OSError if the port can't be taken again."""
        if self._socket is None:
            self._socket = bind(self._host, self.port)
        number = self._socket.fileno()
        beat(self._directory, slot, after_s=START_S)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            WORKER_MODULE,
            str(number),
            str(slot),
            pass_fds=(number,),
            env=self._environment,
            start_new_session=True,
        )
        note_worker(self._directory, slot, process.pid)
        return process

    @property
    def _running(self) -> int:
        return sum(process.returncode is None for process in self.processes)

    def _observe(self) -> None:
        at_work = self._running - sum(self._hangs(slot) for slot in range(len(self.processes)))
        self._observer.workers(at_work, self._count)


def _unchecked_tls() -> ssl.SSLContext:
    """Return the client's side of TLS to our own workers, on the socket that we gave them."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
