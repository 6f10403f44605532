"""The whole system for tests: control plane, classifier, a real Envoy and cells, on free ports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import httpx
import uvloop

from control_plane.cli.local.system import LOCAL_NODE
from control_plane.compiler.bootstrap import FleetMember, compile_bootstrap
from control_plane.compiler.socket_address import SocketAddress
from control_plane.examples.cell import cell_app
from control_plane.process.admin_address import AdminAddress
from control_plane.process.embedded_server import embedded, run
from control_plane.process.envoy import ADMIN_SOCKET, Envoy
from control_plane.process.listening import bind, port_of
from control_plane.process.unix_socket import socket_in
from control_plane.routing.admission.admit import Refused, admit
from control_plane.routing.evaluate import decide
from control_plane.routing.holds import by_owner
from control_plane.routing.model import Cells, Decision, Request
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.ruleset import Ruleset
from control_plane.server import Running, running
from control_plane.settings import Settings
from control_plane.topology.values.change import TopologySnapshot
from tests.support.envoy_admin import sync_client
from tests.support.loop_thread import LoopThread
from tests.support.module_everywhere import module_everywhere
from tests.support.ports import unused_port

RULESETS = Path(__file__).parents[2] / "rulesets"
REFUSED_CELL = {
    "name": "broken",
    "address": "broken.example",
    "endpoints": ["127.0.0.1:1"],
    "tls": {"ca_file": "/nonexistent/ca.pem"},
    "state": "provisioning",
}
"""Envoy reads the file when it takes the cluster, and refuses it: there is none."""
JOIN_S = 60.0
SOON_UP_AND_PATIENT: dict[str, Any] = {"classifier_workers": 0, "classifier_timeout_s": 10.0}
"""Settings of a `System`: one process is up sooner than two, and a classifier that a busy machine
keeps waiting must not look dead."""


@lru_cache(maxsize=8)
def _parsed(document: str) -> Ruleset:
    return parse(document)


def reconnecting_soon(bootstrap: str) -> str:
    """Return a bootstrap with a short back-off: no test waits for Envoy's default (up to 30 s)."""
    document = json.loads(bootstrap)
    (service,) = document["dynamicResources"]["adsConfig"]["grpcServices"]
    service["envoyGrpc"]["retryPolicy"] = {
        "retryBackOff": {"baseInterval": "0.1s", "maxInterval": "0.5s"}
    }
    return json.dumps(document)


class System(LoopThread):
    """The whole system in an event loop of its own thread; used with `with`.

    Envoy speaks delta xDS, or state of the world with `delta=False`. It says that it has `module`, the
    file of the edge map, which need not be true. The control plane (with its
    classifier workers) and Envoy can be stopped and started again; their ports stay.
    """

    def __init__(
        self,
        directory: Path,
        cells: int = 3,
        *,
        delta: bool = True,
        concurrency: int = 2,
        module: Path | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(uvloop.new_event_loop)
        self._directory = directory
        self._count = cells
        self._given = settings
        self._delta = delta
        self._concurrency = concurrency
        self.module = module or module_everywhere()
        self._settings: Settings
        self._envoy: Envoy | None = None
        self._plane_stack = contextlib.AsyncExitStack()
        self._snapshot: TopologySnapshot | None = None
        self.cell_ports: dict[str, int] = {}
        self.edge_port = 0
        self.admin = AdminAddress()
        self.plane: Running
        self.envoy_pid = 0
        self.api: httpx.Client

    def __enter__(self) -> Self:
        super().__enter__()
        self.api = httpx.Client(
            base_url=f"http://127.0.0.1:{self.plane.ports.api}", timeout=30, trust_env=False
        )
        return self

    def __exit__(self, *error: object) -> None:
        self.api.close()
        super().__exit__(*error)

    @contextlib.asynccontextmanager
    async def lives(self) -> AsyncIterator[None]:
        defaults = {
            "database_url": f"sqlite:///{self._directory}/cellway.db",
            "data_dir": self._directory,
            "api_port": 0,
            "grpc_port": 0,
            "classifier_port": 0,
            "edge_port": unused_port(),
            "health_interval_s": 0,
            **SOON_UP_AND_PATIENT,
        }
        self._settings = Settings(**(defaults | self._given))
        self.edge_port = self._settings.edge_port
        async with contextlib.AsyncExitStack() as stack:
            for number in range(1, self._count + 1):
                await stack.enter_async_context(self._cell(f"cell-{number}"))
            stack.push_async_callback(self._end_plane)
            await self._begin_plane()
            stack.push_async_callback(self._end_envoy)
            await self._begin_envoy()
            yield

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

    async def _xds_at(self) -> SocketAddress:
        """Return where Envoy gets its configuration."""
        return "127.0.0.1", self.plane.ports.grpc

    async def _begin_envoy(self) -> None:
        member = FleetMember(
            LOCAL_NODE,
            "local",
            await self._xds_at(),
            self._admin_at(),
            delta=self._delta,
            module=str(self.module or ""),
        )
        bootstrap = reconnecting_soon(compile_bootstrap(member))
        directory = self._directory / "envoy"
        modules = None if self.module is None else self.module.parent
        self._envoy = Envoy(bootstrap, directory, concurrency=self._concurrency, modules=modules)
        self.admin = await self._envoy.start()
        assert self._envoy.process is not None
        self.envoy_pid = self._envoy.process.pid
        joined = await self.plane.fleet.joined(LOCAL_NODE, JOIN_S)
        assert joined, self._envoy.tail()

    def _admin_at(self) -> SocketAddress:
        """Return where Envoy's admin interface is to listen."""
        return str(socket_in(self._directory / "envoy", ADMIN_SOCKET))

    async def _end_envoy(self) -> None:
        if self._envoy is not None:
            await self._envoy.stop()

    async def _envoy_left(self) -> None:
        """Wait until the control plane has noticed that Envoy is gone.

        Otherwise the old connection would pass for the new one.
        """
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
        """Return Envoy's counters and gauges whose whole name matches."""
        with sync_client(self.admin) as admin:
            response = admin.get("/stats?format=json")
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
        """Make a write through the API, which must succeed; return the answer."""
        response = self.api.request(method, path, json=body, headers=headers)
        assert response.status_code < 400, response.text
        return response.json()

    def add_cells(self) -> None:
        """Add the cells that run to the topology."""
        for name, port in self.cell_ports.items():
            self.add_cell(name, port)

    def add_cell(self, name: str, port: int, **more: Any) -> Any:
        """Add one cell to the topology."""
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
        """Store and activate a ruleset (a document, or the name of a shipped one)."""
        if isinstance(document, str):
            document = json.loads((RULESETS / f"{document}.json").read_text())
        name = document["name"]
        stored = self.write("PUT", f"/v1/rulesets/{name}", document)
        self.write(
            "POST",
            f"/v1/rulesets/{name}/activate?wait=fleet&timeout=20s",
            {"version": stored["ruleset"]["version"]},
        )

    def expected(
        self, method: str, target: bytes, host: bytes, headers: list[tuple[str, bytes]]
    ) -> Decision | Refused:
        """Return what the evaluator decides about a raw request, at the current revision."""
        admitted = admit(method, target, host, headers)
        return admitted if isinstance(admitted, Refused) else self.decide(admitted)

    def _newest_snapshot(self) -> TopologySnapshot:
        """Return what the topology holds now; reading all of it again takes ten times as long."""
        revision = self.plane.topology.revision()
        if self._snapshot is None or self._snapshot.revision != revision:
            self._snapshot = self.plane.topology.snapshot()
        return self._snapshot

    def decide(self, admitted: Request) -> Decision:
        """Return what the evaluator decides about an admitted request, at the current revision."""
        snapshot = self._newest_snapshot()
        assert snapshot.ruleset is not None
        cells = Cells(snapshot.cells, by_owner(snapshot.holds))
        ruleset = _parsed(snapshot.ruleset.document)
        return decide(ruleset, admitted, cells, self.plane.topology.claims.owners_of)
