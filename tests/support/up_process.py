"""`cellway up` in a process of its own, with a cell behind it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from control_plane.process.envoy import LeftEnvoy
from tests.support.plane import RULESET
from tests.support.ports import unused_port

START_S = 40.0


class Up:
    """One `cellway up` over free ports; used with `with`, which ends its Envoy too."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.directory = directory
        self._log = directory / "up.log"
        given = {
            "database_url": f"sqlite:///{directory}/up.db",
            "data_dir": directory / "data",
            "edge_port": unused_port(),
            "envoy_admin_port": 0,
            "api_port": unused_port(),
            "grpc_port": unused_port(),
            "classifier_port": unused_port(),
            "classifier_workers": 0,
            "health_interval_s": 0,
        }
        self.settings = given | settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it and wait until it says that it is up."""
        self.begin()
        end = time.monotonic() + START_S
        while "Ctrl-C" not in self.said:
            assert self._process is not None
            assert self._process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.02)
        return self

    def begin(self) -> None:
        """Start it."""
        environment = {f"CELLWAY_{k.upper()}": str(v) for k, v in self.settings.items()}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "control_plane.cli.main", "up"],
                env=os.environ | environment | {"NO_COLOR": "1", "COLUMNS": "200"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def refused(self) -> str:
        """Start it, which must fail; what it says."""
        self.begin()
        assert self._process is not None
        assert self._process.wait(START_S) != 0, self.said
        assert "Traceback" not in self.said
        return self.said

    @property
    def said(self) -> str:
        """What it has printed."""
        return self._log.read_text()

    @property
    def edge(self) -> str:
        """The edge's URL, as it says."""
        found = re.search(r"edge \(Envoy\) +(http://\S+)", self.said)
        assert found is not None, self.said
        return found.group(1)

    @property
    def api(self) -> httpx.Client:
        """A client of its API."""
        found = re.search(r"API +(http://\S+)", self.said)
        assert found is not None, self.said
        token = {"authorization": f"Bearer {self.settings.get('api_token', 'none')}"}
        return httpx.Client(base_url=found.group(1), timeout=30, trust_env=False, headers=token)

    def route(self, port: int) -> None:
        """Send every request to one cell."""
        cell = {"name": "c", "address": "c.example", "endpoints": [f"127.0.0.1:{port}"]}
        with self.api as api:
            put = [
                api.post("/v1/cells", json=cell | {"state": "active"}),
                api.put("/v1/rulesets/r", json=json.loads(RULESET)),
                api.post("/v1/rulesets/r/activate?wait=fleet&timeout=20s", json={"version": 1}),
            ]
        assert all(answer.is_success for answer in put), put[-1].text

    def ask(self) -> int:
        """The status of one request on a new connection."""
        return httpx.get(self.edge, trust_env=False, timeout=30).status_code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it alone."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait until it has ended; its status."""
        assert self._process is not None
        return self._process.wait(START_S)

    @property
    def left(self) -> LeftEnvoy | None:
        """The Envoy of its directory, if one runs."""
        return LeftEnvoy.find(self.directory / "data" / "envoy")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if (left := self.left) is not None:
            os.kill(left.pid, signal.SIGKILL)


class SlowCell:
    """Answers each request only when it is told to; counts those that wait."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop
        self._go = asyncio.Event()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.waiting = 0
        self.port = 0

    def answer(self) -> None:
        """Answer all, those that wait and those to come."""
        self._loop.call_soon_threadsafe(self._go.set)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        async with server:
            await self._stop.wait()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.waiting += 1
        await self._go.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(START_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._go.set)
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_S)
