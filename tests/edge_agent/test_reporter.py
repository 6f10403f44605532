"""The reporter between an admin interface and a control plane, either of which may misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from control_plane.edge_agent import admin as admin_module
from control_plane.edge_agent import reporter as module
from control_plane.edge_agent.admin import Admin
from control_plane.edge_agent.metrics import AgentMetrics, ReporterMetrics
from control_plane.edge_agent.reporter import Reporter
from control_plane.edge_agent.upstream import ControlPlane
from control_plane.edge_health.book import Book
from control_plane.edge_health.service import HealthReports
from control_plane.process.admin_address import AdminAddress
from control_plane.process.background import background_tasks
from control_plane.xds.server.transport import grpc_options
from tests.support.conditions import until
from tests.support.ports import unused_port

TRICKLES = b"<pause>"


@dataclass
class Envoy:
    """An admin interface that answers what it is told to."""

    port: int = 0
    state: str = "LIVE"
    healthy: dict[str, bool] = field(default_factory=lambda: {"a": True})
    broken: bytes | None = None
    """What is answered instead of HTTP."""
    asked: list[str] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            server.close_clients()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer_all(reader, writer)
        finally:
            writer.close()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split()[1].decode()
                self.asked.append(path)
                if self.broken is not None:
                    for part in self.broken.split(TRICKLES):
                        writer.write(part)
                        await asyncio.sleep(0.02 * (TRICKLES in self.broken))
                    return
                body = json.dumps(self._answer(path)).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()

    def _answer(self, path: str) -> Any:
        if path.startswith("/server_info"):
            return {"state": self.state, "node": {"id": "n1", "cluster": "edge"}}
        if path.startswith("/stats"):
            stats = []
            for name, good in self.healthy.items():
                stats += [
                    {"name": f"cluster.{name}.membership_healthy", "value": int(good)},
                    {"name": f"cluster.{name}.membership_total", "value": 1},
                ]
            return {"stats": stats}
        address = {"socket_address": {"address": "10.0.0.1", "port_value": 80}}
        return {
            "cluster_statuses": [
                {
                    "name": f"cell:{name}",
                    "observability_name": name,
                    "added_via_api": True,
                    "host_statuses": [
                        {
                            "address": address,
                            "health_status": {"failed_active_health_check": not good},
                        }
                    ],
                }
                for name, good in self.healthy.items()
            ]
        }


class Plane:
    """A control plane's end of it, which may be stopped and started again."""

    def __init__(self) -> None:
        self.port = unused_port()
        self.book = Book(grace_s=0)
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        self._server = grpc.aio.server(options=grpc_options())
        self._reports = HealthReports(self.book)
        self._reports.register(self._server)
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            self._reports.stop()
            await self._server.stop(0)
            self._server = None

    def up(self) -> dict[str, bool]:
        self.book.age(asyncio.get_running_loop().time())
        return {name: bool(count.up) for name, count in self.book.counts.items()}


@dataclass
class Between:
    envoy: Envoy
    plane: Plane
    metrics: ReporterMetrics
    supervised: AgentMetrics

    def restarts(self) -> float | None:
        """Return how often the reporter itself has failed."""
        name, task = "cellway_background_restarts_total", {"task": "reporter"}
        return self.supervised.registry.get_sample_value(name, task)


@pytest.fixture
async def between(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Between]:
    monkeypatch.setattr(module, "MAX_PAUSE_S", 0.05)
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)
    envoy, plane, metrics = Envoy(), Plane(), ReporterMetrics()
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(envoy.running())
        await plane.start()
        stack.push_async_callback(plane.stop)
        admin, upstream = (
            Admin(AdminAddress(port=envoy.port)),
            ControlPlane(f"127.0.0.1:{plane.port}"),
        )
        stack.push_async_callback(admin.close)
        stack.push_async_callback(upstream.close)
        reporter = Reporter(admin, upstream, metrics, interval_s=0.02)
        supervised = AgentMetrics()
        tasks = await stack.enter_async_context(background_tasks(supervised))
        tasks.start("reporter", reporter.run)
        yield Between(envoy, plane, metrics, supervised)


async def test_what_changes_is_told(between: Between) -> None:
    envoy, plane = between.envoy, between.plane
    await until(lambda: plane.up() == {"cell:a": True})
    envoy.healthy["b"] = False
    await until(lambda: plane.up() == {"cell:a": True, "cell:b": False})
    envoy.healthy["a"] = False
    await until(lambda: plane.up() == {"cell:a": False, "cell:b": False})
    del envoy.healthy["b"]
    await until(lambda: plane.up() == {"cell:a": False})
    assert between.metrics.restarts._value.get() == 0, "on one stream"
    count = between.metrics.reports._value.get()
    envoy.asked.clear()
    await until(lambda: len(envoy.asked) > 5)
    assert all(path.startswith("/stats") for path in envoy.asked)
    assert between.metrics.reports._value.get() == count, "what does not change is not told"


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\xff\xfe garbage\r\n\r\n",
        b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{",
        b'HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{"node": true',
        pytest.param(
            b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"[" * 100_000, id="deep"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 200_000, id="huge"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + TRICKLES.join([b" "] * 200), id="trickling"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n{}", id="no gzip"),
        pytest.param(b"HTTP/1.1 302 Found\r\nlocation: http://\x01[/\r\n\r\n", id="elsewhere"),
    ],
)
async def test_an_admin_interface_that_misbehaves_ends_the_word_and_not_the_reporter(
    between: Between, broken: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_module, "WHOLE_ANSWER_S", 0.5)
    monkeypatch.setattr(admin_module, "MAX_ANSWER_BYTES", 150_000)
    plane = between.plane
    await until(lambda: plane.up() == {"cell:a": True})
    between.envoy.broken = broken
    await until(lambda: plane.up() == {})
    between.envoy.broken = None
    await until(lambda: plane.up() == {"cell:a": True})
    assert between.restarts() == 0, "it is foreseen"


async def test_what_was_not_foreseen_starts_the_reporter_again(
    between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = between.plane
    await until(lambda: plane.up() == {"cell:a": True})
    with monkeypatch.context() as patched:
        patched.setattr(Reporter, "_session", Reporter._write)
        await plane.stop()
        await until(lambda: between.restarts() == 2)
        await plane.start()
    await until(lambda: plane.up() == {"cell:a": True})


async def test_a_control_plane_that_comes_back_is_told_everything(between: Between) -> None:
    plane = between.plane
    await until(lambda: plane.up() == {"cell:a": True})
    await plane.stop()
    between.envoy.healthy["b"] = True
    await until(lambda: plane.up() == {})
    await plane.start()
    await until(lambda: plane.up() == {"cell:a": True, "cell:b": True})


async def test_an_envoy_without_configuration_is_waited_for(between: Between) -> None:
    plane = between.plane
    await until(lambda: plane.up() == {"cell:a": True})
    between.envoy.state = "INITIALIZING"
    await plane.stop()
    await plane.start()
    count = len(between.envoy.asked)
    await until(lambda: len(between.envoy.asked) > count + 3)
    assert plane.up() == {}
    between.envoy.state = "LIVE"
    await until(lambda: plane.up() == {"cell:a": True})
