"""`cellway envoy agent` in a process of its own."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.ports import unused_port

START_S = 60.0
END_S = 10.0


class AgentProcess:
    """The agent of one Envoy, on fixed free ports, over one directory; used with `with`.

    `max_file_bytes` is how large a file it can write (RLIMIT_FSIZE): its full disk.
    """

    def __init__(
        self,
        directory: Path,
        xds_port: int,
        *,
        max_file_bytes: int = -1,
        envoy_admin: str | None = None,
    ) -> None:
        self._more = () if envoy_admin is None else ("--envoy-admin", envoy_admin)
        self.port = unused_port()
        self.metrics_port = unused_port()
        self.directory = directory / "snapshots"
        self.log = directory / "agent.log"
        self.max_file_bytes = max_file_bytes
        self._xds_port = xds_port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        limit = self.max_file_bytes
        full: Callable[[], None] | None = None
        if limit >= 0:
            full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # noqa: E731
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "control_plane.cli.main", "envoy", "agent"),
                    *("--xds", f"127.0.0.1:{self._xds_port}"),
                    *("--listen", f"127.0.0.1:{self.port}"),
                    *("--metrics-port", str(self.metrics_port)),
                    *("--snapshot-dir", str(self.directory)),
                    *self._more,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=full,
            )
        end = time.monotonic() + START_S
        while "the agent is up" not in self.said():
            assert self._process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.05)

    def said(self) -> str:
        """Its log since the beginning."""
        return self.log.read_text()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait(END_S)
        self.log.unlink()

    def snapshots(self) -> list[Path]:
        """The files that it keeps, the oldest first."""
        return sorted(self.directory.glob("*.snapshot"))

    def metric(self, name: str, **labels: str) -> float:
        """One sample of its metrics."""
        text = httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics", trust_env=False).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if (sample.name, sample.labels) == (name, labels):
                    return float(sample.value)
        raise KeyError(name, labels)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
