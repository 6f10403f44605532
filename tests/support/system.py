"""The whole system for tests: control plane, classifier, a real Envoy and cells, on free ports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import uvloop

from control_plane.cli.local import LOCAL_NODE
from control_plane.compiler.bootstrap import FleetMember, compile_bootstrap
from control_plane.examples.cell import cell_app
from control_plane.process.embedded_server import embedded, run
from control_plane.process.envoy import Envoy
from control_plane.process.listening import bind, port_of
from control_plane.routing.admission.admit import Refused, admit
from control_plane.routing.evaluate import decide
from control_plane.routing.model import Cells, Decision, Request
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.ruleset import Ruleset
from control_plane.server import Running, running
from control_plane.settings import Settings
from tests.support.ports import unused_port

RULESETS = Path(__file__).parents[2] / "rulesets"
START_S = 60.0
JOIN_S = 20.0


@lru_cache(maxsize=8)
def _parsed(document: str) -> Ruleset:
    return parse(document)


def reconnecting_soon(bootstrap: str) -> str:
    """With a short back-off, so that no test waits for Envoy's default (up to 30 s)."""
    document = json.loads(bootstrap)
    (service,) = document["dynamicResources"]["adsConfig"]["grpcServices"]
    service["envoyGrpc"]["retryPolicy"] = {
        "retryBackOff": {"baseInterval": "0.1s", "maxInterval": "0.5s"}
    }
    return json.dumps(document)


class System:
    """Everything, in an event loop of its own thread. Use as a context manager.

    Envoy speaks delta xDS, or with `delta=False` state of the world. Control plane (its classifier
    workers included) and Envoy can be stopped and started again; their ports stay.
    """

    def __init__(
        self,
        directory: Path,
        cells: int = 3,
        *,
        delta: bool = True,
        concurrency: int = 2,
        **settings: Any,
    ) -> None:
        self._directory = directory
        self._count = cells
        self._given = settings
        self._delta = delta
        self._concurrency = concurrency
        self._settings: Settings
        self._envoy: Envoy | None = None
        self._plane_stack = contextlib.AsyncExitStack()
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.cell_ports: dict[str, int] = {}
        self.edge_port = 0
        self.admin_port = 0
        self.plane: Running
        self.envoy_pid = 0
        self.api: httpx.Client
        self._thread = threading.Thread(target=self._main, daemon=True)

    def __enter__(self) -> System:
        self._thread.start()
        assert self._ready.wait(START_S), "the system did not start"
        if self._error is not None:
            raise self._error
        self.api = httpx.Client(
            base_url=f"http://127.0.0.1:{self.plane.ports.api}", timeout=30, trust_env=False
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.api.close()
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        if self._error is not None:
            raise self._error

    def call[T](self, work: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine in the system's loop."""
        assert self._loop is not None

        async def wrapped() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(wrapped(), self._loop).result(60)

    def _main(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                runner.run(self._run())
            except BaseException as error:  # noqa: BLE001 - handed to the test's thread
                self._error = error
            finally:
                self._ready.set()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        given = {
            "database_url": f"sqlite:///{self._directory}/cellway.db",
            "data_dir": self._directory,
            "api_port": 0,
            "grpc_port": 0,
            "classifier_port": 0,
            "envoy_admin_port": 0,
            "edge_port": unused_port(),
            "health_interval_s": 0,
        }
        self._settings = Settings(**(given | self._given))
        self.edge_port = self._settings.edge_port
        async with contextlib.AsyncExitStack() as stack:
            for number in range(1, self._count + 1):
                await stack.enter_async_context(self._cell(f"cell-{number}"))
            stack.push_async_callback(self._end_plane)
            await self._begin_plane()
            stack.push_async_callback(self._end_envoy)
            await self._begin_envoy()
            self._ready.set()
            await self._stop.wait()

    async def _begin_plane(self) -> None:
        plane = await self._plane_stack.enter_async_context(running(self._settings))
        ports = plane.ports
        fixed = {
            "api_port": ports.api,
            "grpc_port": ports.grpc,
            "classifier_port": ports.classifier,
        }
        self._settings = self._settings.model_copy(update=fixed)
        self.plane = plane

    async def _end_plane(self) -> None:
        await self._plane_stack.aclose()

    async def _xds_port(self) -> int:
        """Where Envoy finds its configuration."""
        return self.plane.ports.grpc

    async def _begin_envoy(self) -> None:
        member = FleetMember(
            LOCAL_NODE,
            "local",
            "127.0.0.1",
            await self._xds_port(),
            self._settings.envoy_admin_port,
            delta=self._delta,
        )
        bootstrap = reconnecting_soon(compile_bootstrap(member))
        directory = self._directory / "envoy"
        self._envoy = Envoy(bootstrap, directory, concurrency=self._concurrency)
        self.admin_port = await self._envoy.start()
        assert self._envoy.process is not None
        self.envoy_pid = self._envoy.process.pid
        joined = await self.plane.fleet.joined(LOCAL_NODE, JOIN_S)
        assert joined, self._envoy.tail()

    async def _end_envoy(self) -> None:
        if self._envoy is not None:
            await self._envoy.stop()

    async def _envoy_left(self) -> None:
        """Until the control plane has noticed; else the old connection would pass for the new."""
        async with asyncio.timeout(JOIN_S):
            while any(node.connected for node in self.plane.fleet.nodes()):
                await asyncio.sleep(0.01)

    def stop_plane(self) -> None:
        """Stop the control plane and its classifiers."""
        self.call(self._end_plane)

    def start_plane(self) -> None:
        """Start the control plane again, on the same database and ports."""
        self.call(self._begin_plane)

    def restart_envoy(self) -> None:
        """Stop Envoy and start a new one that knows nothing."""
        self.call(self._end_envoy)
        self.call(self._envoy_left)
        self.call(self._begin_envoy)

    def in_step(self) -> None:
        """Wait until Envoy is connected and runs the newest revision."""

        async def wait() -> tuple[str, ...]:
            if not await self.plane.fleet.joined(LOCAL_NODE, JOIN_S):
                return (LOCAL_NODE,)
            return await self.plane.fleet.wait(self.plane.topology.revision(), JOIN_S)

        assert self.call(wait) == (), "Envoy does not follow"

    def stats(self, pattern: str) -> dict[str, int]:
        """Envoy's counters and gauges whose whole name matches."""
        response = httpx.get(
            f"http://127.0.0.1:{self.admin_port}/stats?format=json", trust_env=False
        )
        return {
            stat["name"]: stat["value"]
            for stat in response.json()["stats"]
            if isinstance(stat.get("value"), int) and re.fullmatch(pattern, stat["name"])
        }

    @contextlib.asynccontextmanager
    async def _cell(self, name: str) -> AsyncIterator[None]:
        sock = bind("127.0.0.1", 0)
        self.cell_ports[name] = port_of(sock)
        task = asyncio.create_task(run(embedded(cell_app(name)), sock))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def write(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """A write through the API that must succeed."""
        response = self.api.request(method, path, json=body, headers=headers)
        assert response.status_code < 400, response.text
        return response.json()

    def add_cells(self) -> None:
        """Tell the topology of the cells that run."""
        for name, port in self.cell_ports.items():
            self.add_cell(name, port)

    def add_cell(self, name: str, port: int, **more: Any) -> Any:
        """Tell the topology of one cell."""
        body = {
            "name": name,
            "address": f"{name}.example.com",
            "endpoints": [f"127.0.0.1:{port}"],
            "session_prefix": name,
            "state": "active",
        }
        return self.write("POST", "/v1/cells?wait=fleet&timeout=20s", body | more)

    def claim(self, cell: str, *keys: str) -> None:
        """Claim ``bucket:value`` keys for a cell."""
        claims = [dict(zip(("bucket", "value"), key.split(":", 1), strict=True)) for key in keys]
        self.write("POST", "/v1/claims", {"claims": [{**claim, "cell": cell} for claim in claims]})

    def use_ruleset(self, document: dict[str, Any] | str) -> None:
        """Keep and activate a ruleset (a document, or the name of a shipped one)."""
        if isinstance(document, str):
            document = json.loads((RULESETS / f"{document}.json").read_text())
        name = document["name"]
        kept = self.write("PUT", f"/v1/rulesets/{name}", document)
        self.write(
            "POST",
            f"/v1/rulesets/{name}/activate?wait=fleet&timeout=20s",
            {"version": kept["ruleset"]["version"]},
        )

    def expected(
        self, method: str, target: bytes, host: bytes, headers: list[tuple[str, bytes]]
    ) -> Decision | Refused:
        """What the evaluator says about a raw request, at the current revision."""
        admitted = admit(method, target, host, headers)
        return admitted if isinstance(admitted, Refused) else self.decide(admitted)

    def decide(self, admitted: Request) -> Decision:
        """What the evaluator says about an admitted request, at the current revision."""
        snapshot = self.plane.topology.snapshot()
        assert snapshot.ruleset is not None
        cells = Cells(snapshot.cells)
        ruleset = _parsed(snapshot.ruleset.document)
        return decide(ruleset, admitted, cells, self.plane.topology.claims.owners_of)


class RawClient:
    """Sends exactly the bytes it is given over a kept-alive HTTP/1.1 connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._file: Any = None
        self._sock: socket.socket | None = None

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._sock is not None:
            self._file.close()
            self._sock.close()
            self._sock = None

    def ask(
        self,
        target: bytes,
        headers: list[tuple[str, bytes]] | None = None,
        *,
        method: str = "GET",
        host: bytes = b"gitlab.example.com",
    ) -> tuple[int, dict[str, str], bytes]:
        """Status (0: closed without an answer), headers and body."""
        lines = [method.encode() + b" " + target + b" HTTP/1.1", b"host: " + host]
        lines += [name.encode() + b": " + value for name, value in headers or []]
        request = b"\r\n".join(lines) + b"\r\n\r\n"
        for _ in range(2):
            if self._sock is None:
                self._sock = socket.create_connection(("127.0.0.1", self._port), timeout=20)
                self._file = self._sock.makefile("rb")
            try:
                self._sock.sendall(request)
                answer = self._read(has_body=method != "HEAD")
            except (ConnectionError, EOFError):
                # The edge had closed the kept-alive connection; a second try is a fresh one.
                self._close()
                continue
            return answer
        return 0, {}, b""

    def _read(self, *, has_body: bool) -> tuple[int, dict[str, str], bytes]:
        status_line = self._file.readline()
        if not status_line:
            raise EOFError
        headers: dict[str, str] = {}
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            headers[name.decode().lower()] = value.strip().decode("latin-1")
        body = self._file.read(int(headers.get("content-length", "0")) if has_body else 0)
        if headers.get("connection") == "close":
            self._close()
        return int(status_line.split()[1]), headers, body
