"""`cellway envoy agent` in a process of its own."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from control_plane.edge_agent.port import SOCKET
from control_plane.process.unix_socket import socket_in
from tests.support.child_process import ChildProcess
from tests.support.ports import unused_port


class AgentProcess(ChildProcess):
    """The agent of one Envoy, on a fixed free port, over one directory. Its Envoy comes by a Unix socket.

    `max_file_bytes` is how large a file it can write (RLIMIT_FSIZE), as if its disk were full.
    """

    def __init__(
        self,
        directory: Path,
        xds_port: int,
        *,
        max_file_bytes: int = -1,
        envoy_admin: str | None = None,
    ) -> None:
        super().__init__(directory / "agent.log")
        self._more = () if envoy_admin is None else ("--envoy-admin", envoy_admin)
        self.metrics_port = unused_port()
        self.directory = directory / "snapshots"
        self.socket = str(socket_in(self.directory, SOCKET))
        self.max_file_bytes = max_file_bytes
        self._xds_port = xds_port

    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "control_plane.cli.main", "envoy", "agent"),
            *("--xds", f"127.0.0.1:{self._xds_port}"),
            *("--metrics-port", str(self.metrics_port)),
            *("--snapshot-dir", str(self.directory)),
            *self._more,
        ]

    def options(self) -> dict[str, Any]:
        limit = self.max_file_bytes
        if limit < 0:
            return {}
        return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))}

    def is_up(self) -> bool:
        return "the agent is up" in self.said()

    def said(self) -> str:
        """Return its log since it was killed last."""
        return self.log_path.read_text()

    def kill(self) -> None:
        """End it at once, and drop its log."""
        super().kill()
        self.log_path.unlink()

    def snapshots(self) -> list[Path]:
        """Return the files that it keeps, the oldest first."""
        return sorted(self.directory.glob("*.snapshot"))

    def metric(self, name: str, **labels: str) -> float:
        """Return one sample of its metrics."""
        text = httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics", trust_env=False).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if (sample.name, sample.labels) == (name, labels):
                    return float(sample.value)
        raise KeyError(name, labels)
