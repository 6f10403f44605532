"""Runs the real Envoy for tests: started on free ports, waited for, and always stopped."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

from control_plane.process.admin_address import AdminAddress
from tests.support.child_process import ChildFailed, ChildProcess
from tests.support.envoy_admin import sync_client

ENVOY_BINARY = Path(sys.executable).with_name("envoy")
ADMIN_TIMEOUT_S = 20.0
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0

FREE_LOOPBACK_PORT: Mapping[str, Any] = {
    "socket_address": {"address": "127.0.0.1", "port_value": 0}
}


class EnvoyProcess(ChildProcess):
    """One Envoy with a bootstrap given as a dict in the proto3 JSON form.

    `async with` works too (the blocking waits run in a thread). A bootstrap without `admin` gets
    one on a free loopback port; listeners may use port 0 and are found by `listener_port`.
    With `wait_ready=False` start returns once the admin interface answers, before the first
    configuration has come from a control plane. `directory` receives the bootstrap, the log
    and the admin address; it must exist.
    """

    def __init__(
        self,
        bootstrap: Mapping[str, Any],
        directory: Path,
        *,
        concurrency: int = 1,
        log_level: str = "warning",
        arguments: Sequence[str] = (),
        wait_ready: bool = True,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        super().__init__(directory / "envoy.log")
        self.start_timeout_s = start_timeout_s
        self.end_timeout_s = STOP_TIMEOUT_S
        self.bootstrap = {"admin": {"address": FREE_LOOPBACK_PORT}, **bootstrap}
        self.bootstrap_path = directory / "envoy-bootstrap.json"
        self._admin_address_path = directory / "envoy-admin-address"
        self._arguments = [
            *("--concurrency", str(concurrency)),
            *("--log-level", log_level),
            *arguments,
        ]
        self._wait_ready = wait_ready
        self._admin: AdminAddress | None = None

    def command(self) -> list[str]:
        return [
            str(ENVOY_BINARY),
            *("-c", str(self.bootstrap_path)),
            *("--admin-address-path", str(self._admin_address_path)),
            "--disable-hot-restart",
            *self._arguments,
        ]

    def begin(self) -> None:
        """Write the bootstrap and start Envoy."""
        if not self.running:
            self.bootstrap_path.write_text(json.dumps(self.bootstrap, indent=1))
            self._admin_address_path.unlink(missing_ok=True)
            self._admin = None
        super().begin()

    def is_up(self) -> bool:
        return self._admin_answers() and (not self._wait_ready or self.is_ready())

    @property
    def admin_address(self) -> AdminAddress:
        """Where the admin interface is."""
        if self._admin is None:
            raise ChildFailed("this Envoy's admin interface is not up")
        return self._admin

    def admin(self, path: str, *, method: str = "GET") -> tuple[int, str]:
        """Ask the admin interface; return status and body, or raise `OSError`."""
        try:
            with sync_client(self.admin_address, ADMIN_TIMEOUT_S) as client:
                response = client.request(method, path)
        except httpx.TransportError as error:
            raise OSError(str(error)) from error
        return response.status_code, response.text

    def is_ready(self) -> bool:
        """Tell whether Envoy has its first configuration and serves (`/ready` answers 200)."""
        try:
            return self.admin("/ready")[0] == httpx.codes.OK
        except OSError:
            return False

    def listener_port(self, name: str) -> int:
        """Return the port of a listener's first address; raise `KeyError` if there is no listener."""
        document = json.loads(self.admin("/listeners?format=json")[1])
        for listener in document.get("listener_statuses", []):
            if listener["name"] == name:
                return int(listener["local_address"]["socket_address"]["port_value"])
        raise KeyError(name)

    def stats(self, filter_regex: str) -> dict[str, int]:
        """Return the counters and gauges whose name matches the regex, by name."""
        document = json.loads(self.admin(f"/stats?format=json&filter={filter_regex}")[1])
        return {
            stat["name"]: stat["value"]
            for stat in document["stats"]
            if isinstance(stat.get("value"), int)
        }

    def _admin_answers(self) -> bool:
        try:
            address = AdminAddress.read(self._admin_address_path.read_text())
        except FileNotFoundError:
            return False
        if address == AdminAddress():
            return False
        self._admin = address
        try:
            self.admin("/server_info")
        except OSError:
            return False
        return True

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)
