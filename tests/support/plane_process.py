"""A control plane in processes of its own, so that it can be killed as the kernel would."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx

from tests.support.child_process import ChildProcess, frozen
from tests.support.ports import unused_port


class PlaneProcess(ChildProcess):
    """`cellway serve` on fixed free ports, over one SQLite database.

    A classifier that a busy machine keeps waiting must not look dead, so the edge waits long for
    it.
    """

    def __init__(
        self, directory: Path, *arguments: str, classifier_timeout_s: float = 10.0
    ) -> None:
        super().__init__(directory / "serve.log")
        self.edge_port = unused_port()
        self.api_port = unused_port()
        self.grpc_port = unused_port()
        self.classifier_port = unused_port()
        self._arguments = [
            *("--database-url", f"sqlite:///{directory}/cellway.db"),
            *("--edge-port", str(self.edge_port)),
            *("--api-port", str(self.api_port)),
            *("--grpc-port", str(self.grpc_port)),
            *("--classifier-port", str(self.classifier_port)),
            *arguments,
        ]
        self._classifier_timeout_s = classifier_timeout_s
        self._workers: list[int] = []
        self.api = httpx.Client(
            base_url=f"http://127.0.0.1:{self.api_port}", timeout=30, trust_env=False
        )

    def command(self) -> list[str]:
        return [sys.executable, "-m", "control_plane.cli.main", "serve", *self._arguments]

    def options(self) -> dict[str, Any]:
        settings = {"CELLWAY_CLASSIFIER_TIMEOUT_S": str(self._classifier_timeout_s)}
        return {"start_new_session": True, "env": os.environ | settings}

    def is_up(self) -> bool:
        try:
            return self.api.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def start(self) -> Self:
        """Start it and wait until it is ready."""
        super().start()
        self._note_workers()
        return self

    def stop(self) -> None:
        """End the control plane, and the classifiers that it may have left."""
        super().stop()
        self.kill_classifiers()

    def kill(self) -> None:
        """SIGKILL to the control plane alone; its classifiers go on."""
        self._note_workers()
        super().kill()

    @contextlib.contextmanager
    def frozen(self, *, classifiers: bool = False) -> Iterator[None]:
        """SIGSTOP to the control plane alone, or to its classifiers alone; then SIGCONT."""
        self._note_workers()
        with frozen(*(self._workers if classifiers else [self.pid])):
            yield

    def kill_classifiers(self) -> None:
        """SIGKILL to the classifiers."""
        self._note_workers()
        for pid in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._workers = []

    def _note_workers(self) -> None:
        """Note the classifiers of now: one that has died is replaced by another.

        Those of a dead control plane go on, and are nobody's children then.
        """
        if self.running:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            self._workers = [int(child) for child in children]

    def write(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Make a write through the API, which must succeed; return the answer."""
        response = self.api.request(method, path, json=body, headers=headers)
        assert response.status_code < 400, response.text
        return response.json()

    def __exit__(self, *_: object) -> None:
        self.api.close()
        self.stop()
