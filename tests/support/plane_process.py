"""A control plane in processes of its own, so that it can be killed as the kernel would."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.ports import unused_port

START_S = 60.0
END_S = 10.0


class PlaneProcess:
    """`cellway serve` on fixed free ports, over one SQLite database; used with `with`."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.edge_port = unused_port()
        self.api_port = unused_port()
        self.grpc_port = unused_port()
        self.classifier_port = unused_port()
        self.log = directory / "serve.log"
        self._arguments = [
            *("--database-url", f"sqlite:///{directory}/cellway.db"),
            *("--edge-port", str(self.edge_port)),
            *("--api-port", str(self.api_port)),
            *("--grpc-port", str(self.grpc_port)),
            *("--classifier-port", str(self.classifier_port)),
            *arguments,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._workers: list[int] = []
        self.api = httpx.Client(
            base_url=f"http://127.0.0.1:{self.api_port}", timeout=30, trust_env=False
        )

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "control_plane.cli.main", "serve", *self._arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + START_S
        while not self._ready():
            assert self._process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < end, self.log.read_text()[-3000:]
            time.sleep(0.05)
        self._note_workers()

    def _note_workers(self) -> None:
        """They change when one has died; those of a dead control plane go on, as nobody's."""
        if self._process is not None and self._process.poll() is None:
            pid = self._process.pid
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            self._workers = [int(child) for child in children]

    @property
    def pid(self) -> int:
        """Process id of the control plane."""
        assert self._process is not None
        return self._process.pid

    def _ready(self) -> bool:
        try:
            return self.api.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """SIGKILL to the control plane alone; its classifiers go on."""
        assert self._process is not None
        self._note_workers()
        self._process.kill()
        self._process.wait(END_S)

    @contextlib.contextmanager
    def frozen(self, *, classifiers: bool = False) -> Iterator[None]:
        """SIGSTOP to the control plane alone, or to its classifiers alone; then SIGCONT."""
        assert self._process is not None
        self._note_workers()
        pids = self._workers if classifiers else [self._process.pid]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def kill_classifiers(self) -> None:
        """SIGKILL to the classifiers."""
        self._note_workers()
        for pid in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._workers = []

    def write(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """A write through the API that must succeed."""
        response = self.api.request(method, path, json=body, headers=headers)
        assert response.status_code < 400, response.text
        return response.json()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.api.close()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self.kill_classifiers()
