"""The service over real gRPC: who breaks the protocol or a bound is ended, others go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from control_plane.edge_agent.upstream import final_status, note_status
from control_plane.edge_health import service
from control_plane.edge_health.book import Book
from control_plane.edge_health.service import METHOD, SERVICE, HealthReports
from control_plane.xds.server.transport import grpc_options
from tests.support.certificates import channel
from tests.support.conditions import until
from tests.support.health_messages import HEALTHY, UNHEALTHY, hello, report
from tests.support.plane import plane_with
from tests.support.secured_plane import secured_plane

Code = grpc.StatusCode


class Observer:
    def __init__(self) -> None:
        self.codes: list[str] = []

    def report_refused(self, code: str) -> None:
        self.codes.append(code)


@dataclass
class Wire:
    book: Book
    reports: HealthReports
    observer: Observer
    channel: grpc.aio.Channel

    def call(self) -> Any:
        return open_call(self.channel)


def open_call(over: grpc.aio.Channel) -> Any:
    call: Any = over.stream_stream(f"/{SERVICE}/{METHOD}")()
    note_status(call)
    return call


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    book, observer = Book(), Observer()
    reports = HealthReports(book, observer)
    server = grpc.aio.server(options=grpc_options())
    reports.register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as over:
        yield Wire(book, reports, observer, over)
    reports.stop()
    await server.stop(1)


async def said(call: Any, *messages: bytes) -> Any:
    """Write until the other side has ended the call."""
    with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
        for message in messages:
            await call.write(message)
    return call


async def test_reports_are_counted_until_a_while_after_the_stream(wire: Wire) -> None:
    one = await said(wire.call(), hello("n1"), report(a=[HEALTHY], b=[UNHEALTHY]))
    await said(wire.call(), hello("n2"), report(a=[UNHEALTHY], b=[UNHEALTHY]))
    await until(lambda: wire.book.nodes == {"n1", "n2"})
    assert {n: (c.up, c.down) for n, c in wire.book.counts.items()} == {"a": (1, 1), "b": (0, 2)}
    await said(one, report(b=[HEALTHY]), report())
    await until(lambda: wire.book.counts["b"].up == 1)
    # Names itself again: what follows is all that there is.
    await said(one, hello("n1"), report(b=[HEALTHY]))
    await until(lambda: wire.book.counts["a"].up == 0)
    await one.done_writing()
    assert await one.code() is Code.OK
    assert wire.book.nodes == {"n1", "n2"}


async def test_an_envoy_that_asks_to_be_told_what_to_check_is_told_nothing(wire: Wire) -> None:
    call = await said(wire.call(), hello("real"))
    await until(lambda: len(wire.book._open) == 1)
    assert wire.book.nodes == frozenset()
    wire.reports.stop()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is Code.OK
    assert await wire.call().read() is grpc.aio.EOF, "nor is anybody else while it stops"


@pytest.mark.parametrize(
    ("messages", "code", "why"),
    [
        ([report(a=[HEALTHY])], Code.INVALID_ARGUMENT, "first message has to name the node"),
        ([b"\xff\xff"], Code.INVALID_ARGUMENT, "malformed"),
        ([b""], Code.INVALID_ARGUMENT, "neither names a node nor reports"),
        ([hello("")], Code.INVALID_ARGUMENT, "id is missing or too long"),
        ([hello("n" * 1000)], Code.INVALID_ARGUMENT, "id is missing or too long"),
        ([hello("n", "g" * 1000)], Code.INVALID_ARGUMENT, "id is missing or too long"),
        ([hello("n"), hello("m")], Code.INVALID_ARGUMENT, "a stream reports for one node"),
        ([hello("n"), b"\x12\xff"], Code.INVALID_ARGUMENT, "malformed"),
        ([hello("n"), *[report()] * 4], Code.RESOURCE_EXHAUSTED, "messages a second"),
    ],
)
async def test_what_breaks_the_protocol_ends_that_stream_only(
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
    messages: list[bytes],
    code: grpc.StatusCode,
    why: str,
) -> None:
    monkeypatch.setattr(service, "BURST", 4.0)
    good = await said(wire.call(), hello("good"), report(a=[HEALTHY]))
    await until(lambda: wire.book.nodes == {"good"})
    bad = await said(wire.call(), *messages)
    status, details = await final_status(bad)
    assert (status, why in details) == (code, True), details
    assert wire.observer.codes == [code.name]
    await said(good, report(a=[UNHEALTHY]))
    await until(lambda: wire.book.counts["a"].down == 1)


async def test_who_does_not_say_who_it_is_is_ended(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "HELLO_S", 0.05)
    call = wire.call()
    assert await call.code() is Code.INVALID_ARGUMENT
    assert "no node was named" in await call.details()


async def test_with_mutual_tls_a_node_reports_for_itself_and_nobody_else(tmp_path: Path) -> None:
    async with secured_plane(tmp_path) as secured:
        plane, pem = secured.plane, secured.authority.pem

        def refusals() -> float:
            labels = {"method": f"/{SERVICE}/{METHOD}", "code": "PERMISSION_DENIED"}
            return secured.metric("cellway_grpc_refusals_total", **labels)

        async def refused(who: str, *messages: bytes) -> bool:
            before = refusals()
            async with channel(plane.ports.grpc, pem, secured.pairs[who]) as over:
                call = await said(open_call(over), *messages)
                return await call.code() is not Code.OK and refusals() == before + 1

        assert await refused("node", hello("n-2"), report(a=[HEALTHY]))
        assert await refused("node", hello("n-1", "other"), report(a=[HEALTHY]))
        assert await refused("cell", hello("n-1"), report(a=[HEALTHY]))
        assert await refused("router", hello("n-1"), report(a=[HEALTHY]))
        assert plane.edges.nodes == frozenset()
        # Nor later, on a stream that was its own.
        assert await refused("node", hello("n-1"), report(a=[HEALTHY]), hello("n-2"))
        async with channel(plane.ports.grpc, pem, secured.pairs["node"]) as over:
            await said(open_call(over), hello("n-1"), report(a=[UNHEALTHY]))
            await until(lambda: "a" in plane.edges.counts and plane.edges.counts["a"].down == 1)
        assert plane.edges.nodes == {"n-1"}


async def test_metrics_know_no_cell_but_the_topologys(tmp_path: Path) -> None:
    async with plane_with(tmp_path) as (plane, client):
        over = grpc.aio.insecure_channel(f"127.0.0.1:{plane.ports.grpc}")
        call = await said(
            open_call(over), hello("n"), report(**{f"cell__x{i}": [] for i in range(50)})
        )
        await until(lambda: len(plane.edges.counts) == 50)
        text = (await client.get("/metrics")).text
        assert "cellway_edge_reporters 1.0" in text
        assert "cellway_cell_edges{" not in text
        call.cancel()
        await over.close()
