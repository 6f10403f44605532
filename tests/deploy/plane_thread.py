"""A control plane in a thread, for walks of alerts that need no Envoy."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from control_plane.server import Running, running
from control_plane.settings import Settings
from tests.support.loop_thread import LoopThread

TOKEN = "a-token-of-an-operator"


class PlaneThread(LoopThread):
    """`cellway serve` on free ports over a database of its own, with an API token; used with `with`."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        super().__init__()
        defaults: dict[str, Any] = {
            "database_url": f"sqlite:///{directory}/p.db",
            "data_dir": directory,
            "api_port": 0,
            "grpc_port": 0,
            "classifier_port": 0,
            "classifier_workers": 0,
            "health_interval_s": 0,
            "api_token": TOKEN,
        }
        self._settings = Settings(**(defaults | settings))
        self.plane: Running
        self._client: httpx.Client
        self.url = ""

    @contextlib.asynccontextmanager
    async def lives(self) -> AsyncIterator[None]:
        async with running(self._settings) as self.plane:
            self.url = f"http://127.0.0.1:{self.plane.ports.api}"
            with httpx.Client(base_url=self.url, trust_env=False, timeout=20) as self._client:
                yield

    def get(self, path: str, token: str = TOKEN) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"}
        return self._client.get(path, headers=headers)

    def scraped(self) -> str:
        """Return what Prometheus gets."""
        answer = self.get("/metrics")
        assert answer.status_code == 200, answer.text
        return answer.text
