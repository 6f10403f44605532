"""Runs the real Envoy for tests: started on free ports, waited for, and always stopped."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ENVOY_BINARY = Path(sys.executable).with_name("envoy")
ADMIN_TIMEOUT_S = 5.0
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
POLL_INTERVAL_S = 0.02
LOG_TAIL_CHARS = 4000

FREE_LOOPBACK_PORT: Mapping[str, Any] = {
    "socket_address": {"address": "127.0.0.1", "port_value": 0}
}


class EnvoyProcessError(RuntimeError):
    """Envoy did not start, ended by itself or did not reach a state in time; carries its log."""


class EnvoyProcess:
    """One Envoy with a bootstrap given as a dict in the proto3 JSON form, used with `with`.

    `async with` works too (the blocking waits run in a thread). A bootstrap without `admin` gets
    one on a free loopback port; listeners may use port 0 and are found by `listener_port`.
    With `wait_ready=False` start returns once the admin interface answers, before the first
    configuration has come from a control plane. `directory` receives the bootstrap, the log
    (`log_path`, standard output and standard error) and the admin address; it must exist.
    """

    def __init__(
        self,
        bootstrap: Mapping[str, Any],
        directory: Path,
        *,
        concurrency: int = 1,
        log_level: str = "warning",
        component_log_level: str | None = None,
        arguments: Sequence[str] = (),
        wait_ready: bool = True,
        start_timeout_s: float = START_TIMEOUT_S,
        stop_timeout_s: float = STOP_TIMEOUT_S,
    ) -> None:
        self.bootstrap = {"admin": {"address": FREE_LOOPBACK_PORT}, **bootstrap}
        self.bootstrap_path = directory / "envoy-bootstrap.json"
        self.log_path = directory / "envoy.log"
        self._admin_address_path = directory / "envoy-admin-address"
        self._arguments = [
            *("--concurrency", str(concurrency)),
            *("--log-level", log_level),
            *(("--component-log-level", component_log_level) if component_log_level else ()),
            *arguments,
        ]
        self._wait_ready = wait_ready
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._admin: tuple[str, int] | None = None

    def start(self) -> None:
        """Starts Envoy and waits for it; raises `EnvoyProcessError` (and leaves none running)."""
        if self._process is not None:
            raise EnvoyProcessError("this Envoy is running already")
        self.bootstrap_path.write_text(json.dumps(self.bootstrap, indent=1))
        self._admin_address_path.unlink(missing_ok=True)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(ENVOY_BINARY),
                    *("-c", str(self.bootstrap_path)),
                    *("--admin-address-path", str(self._admin_address_path)),
                    "--disable-hot-restart",
                    *self._arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self.wait_until(self._admin_answers, "admin interface up", self._start_timeout_s)
            if self._wait_ready:
                self.wait_until(self.is_ready, "ready", self._start_timeout_s)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Terminates Envoy, kills it when it is still there after the bound; safe to repeat."""
        process, self._process, self._admin = self._process, None, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(self._stop_timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """Ends Envoy at once, as a crash would; safe to repeat."""
        if self._process is not None:
            self._process.kill()
        self.stop()

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the running Envoy."""
        if self._process is None:
            raise EnvoyProcessError("this Envoy is not running")
        return self._process.pid

    @property
    def admin_address(self) -> tuple[str, int]:
        """Host and port of the admin interface."""
        if self._admin is None:
            raise EnvoyProcessError("this Envoy's admin interface is not up")
        return self._admin

    def admin(self, path: str, *, method: str = "GET") -> tuple[int, str]:
        """Asks the admin interface: status and body. `OSError` when it can't be reached."""
        connection = http.client.HTTPConnection(*self.admin_address, timeout=ADMIN_TIMEOUT_S)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def is_ready(self) -> bool:
        """Whether Envoy has its first configuration and serves (`/ready` answers 200)."""
        try:
            return self.admin("/ready")[0] == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False

    def listener_port(self, name: str) -> int:
        """Port of the named listener's first address; `KeyError` when there is no such one."""
        document = json.loads(self.admin("/listeners?format=json")[1])
        for listener in document.get("listener_statuses", []):
            if listener["name"] == name:
                return int(listener["local_address"]["socket_address"]["port_value"])
        raise KeyError(name)

    def stats(self, filter_regex: str) -> dict[str, int]:
        """Counters and gauges whose name matches the regex, by name."""
        document = json.loads(self.admin(f"/stats?format=json&filter={filter_regex}")[1])
        return {
            stat["name"]: stat["value"]
            for stat in document["stats"]
            if isinstance(stat.get("value"), int)
        }

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Polls until the condition holds; raises `EnvoyProcessError` naming `what` it was."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if not self.running:
                raise EnvoyProcessError(f"Envoy ended before: {what}\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise EnvoyProcessError(f"not in {timeout_s} s: {what}\n{self.log_tail()}")
            time.sleep(POLL_INTERVAL_S)

    def log_tail(self) -> str:
        """The end of Envoy's log, for failure messages."""
        return self.log_path.read_text(errors="replace")[-LOG_TAIL_CHARS:]

    def _admin_answers(self) -> bool:
        try:
            host, _, port = self._admin_address_path.read_text().strip().rpartition(":")
        except FileNotFoundError:
            return False
        if not port.isdigit() or port == "0":
            return False
        self._admin = (host.strip("[]"), int(port))
        try:
            self.admin("/server_info")
        except (OSError, http.client.HTTPException):
            return False
        return True

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.stop)
