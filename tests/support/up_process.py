"""`cellway up` in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any, Self

import httpx

from control_plane.classifier.worker.directory import orphans
from control_plane.process.envoy import LeftEnvoy
from tests.support.child_process import ChildProcess
from tests.support.plane import RULESET
from tests.support.ports import unused_port


class Up(ChildProcess):
    """One `cellway up` over free ports; `with` ends what it leaves, and starts nothing."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        super().__init__(directory / "up.log")
        self.directory = directory
        defaults = {
            "database_url": f"sqlite:///{directory}/up.db",
            "data_dir": directory / "data",
            "edge_port": unused_port(),
            "api_port": unused_port(),
            "grpc_port": unused_port(),
            "classifier_port": unused_port(),
            "classifier_workers": 0,
            "health_interval_s": 0,
        }
        self.settings = defaults | settings

    def command(self) -> list[str]:
        return [sys.executable, "-m", "control_plane.cli.main", "up"]

    def options(self) -> dict[str, Any]:
        settings = {f"CELLWAY_{key.upper()}": str(value) for key, value in self.settings.items()}
        return {"env": os.environ | settings | {"NO_COLOR": "1", "COLUMNS": "200"}}

    def is_up(self) -> bool:
        return "Ctrl-C" in self.said

    def begin(self) -> None:
        """Start it, with an empty log."""
        self.log_path.write_bytes(b"")
        super().begin()

    @property
    def said(self) -> str:
        """The text that it has printed."""
        return self.log_path.read_text()

    @property
    def edge(self) -> str:
        """The URL of the edge, as it prints it."""
        stated = re.search(r"edge \(Envoy\) +(http://\S+)", self.said)
        assert stated is not None, self.said
        return stated.group(1)

    @property
    def api(self) -> httpx.Client:
        """A client of its API."""
        stated = re.search(r"API +(http://\S+)", self.said)
        assert stated is not None, self.said
        token = {"authorization": f"Bearer {self.settings.get('api_token', 'none')}"}
        return httpx.Client(base_url=stated.group(1), timeout=30, trust_env=False, headers=token)

    def route(self, port: int) -> None:
        """Send every request to one cell."""
        cell = {"name": "c", "address": "c.example", "endpoints": [f"127.0.0.1:{port}"]}
        with self.api as api:
            answers = [
                api.post("/v1/cells", json=cell | {"state": "active"}),
                api.put("/v1/rulesets/r", json=json.loads(RULESET)),
                api.post("/v1/rulesets/r/activate?wait=fleet&timeout=20s", json={"version": 1}),
            ]
        assert all(answer.is_success for answer in answers), answers[-1].text

    def ask(self) -> int:
        """Send one request over a new connection; return the status."""
        return httpx.get(self.edge, trust_env=False, timeout=30).status_code

    @property
    def left(self) -> LeftEnvoy | None:
        """The Envoy that runs over its directory, if there is one."""
        return LeftEnvoy.find(self.directory / "data" / "envoy")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        if (left := self.left) is not None:
            os.kill(left.pid, signal.SIGKILL)
        for directory in (self.directory / "data" / "classifier-workers").glob("*"):
            for worker in orphans(directory):
                os.kill(worker, signal.SIGKILL)
