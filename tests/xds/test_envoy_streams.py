"""The real Envoy with types on streams of their own, as far as it asks for a type at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.names import CDS, ECDS, EDS, LDS, RDS
from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import Snapshot
from tests.support.envoy_process import EnvoyProcess
from tests.xds.envoy_world import (
    ADS,
    NODE,
    PROTOCOLS,
    asked,
    bootstrap,
    cluster,
    listener,
    own,
    routes,
)
from tests.xds.grpc_world import endpoints
from tests.xds.server.wire import Wire

CURRENT_S = 8.0
"""How long Envoy may take to be current: far less than any time-out of the server's."""


def clusters_of(envoy: EnvoyProcess) -> set[str]:
    lines = envoy.admin("/clusters")[1].splitlines()
    return {line.partition("::")[0] for line in lines} - {"xds"}


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with Wire(force_shrink=True) as made:
        yield made


@pytest.mark.parametrize("aggregated", [False, True], ids=["own", "ads"])
@pytest.mark.parametrize("api_type", PROTOCOLS)
async def test_it_is_current_when_each_stream_has_what_it_asked_for(
    wire: Wire, tmp_path: Path, api_type: str, aggregated: bool
) -> None:
    source = ADS if aggregated else own(api_type)
    # Nobody asks for that filter.
    fixed = (listener(api_type), Resource.of(ECDS, "lua", b"\x0a\x03lua"))
    cells = {name: cluster(name, source) for name in ("a", "b", "c")}
    both = (cells["a"], cells["b"], endpoints(1, name="a"), endpoints(2, name="b"))
    wire.cache.set(Snapshot(1, [*fixed, *both, routes("one")]))
    asks = bootstrap(wire.port, api_type, clusters=source, listeners=own(api_type))
    async with EnvoyProcess(asks, tmp_path) as envoy:
        assert await wire.fleet.wait(1, CURRENT_S) == ()
        (node,) = wire.fleet.nodes()
        assert (node.id, node.state, node.acked_revision) == (NODE, "SYNCED", 1)
        assert {status.type_url for status in node.types} == {CDS, EDS, LDS, RDS}
        assert (await asyncio.to_thread(asked, envoy))[0] == "one"

        more = (cells["c"], endpoints(3, name="c"))
        wire.cache.set(Snapshot(2, [*fixed, *both, *more, routes("two")]))
        assert await wire.fleet.wait(2, CURRENT_S) == ()
        assert (await asyncio.to_thread(asked, envoy))[0] == "two"
        assert await asyncio.to_thread(clusters_of, envoy) == {"a", "b", "c"}

        less = (cells["a"], endpoints(4, name="a"), *more)
        wire.cache.set(Snapshot(3, [*fixed, *less, routes("two")]))
        assert await wire.fleet.wait(3, CURRENT_S) == ()
        assert await asyncio.to_thread(clusters_of, envoy) == {"a", "c"}
        _, told = await asyncio.to_thread(envoy.admin, "/clusters")
        assert "a::127.0.0.1:4::health_flags" in told
        assert "a::127.0.0.1:1::health_flags" not in told


@pytest.mark.parametrize("api_type", PROTOCOLS)
async def test_one_that_asks_for_clusters_only_is_current_with_those(
    wire: Wire, tmp_path: Path, api_type: str
) -> None:
    rest = (listener(api_type), routes("one"))
    a, b = (cluster(name, ADS) for name in "ab")
    eds = (endpoints(1, name="a"), endpoints(2, name="b"))
    wire.cache.set(Snapshot(1, [a, b, *eds, *rest]))
    asks = bootstrap(wire.port, api_type, clusters=ADS, listeners=None)
    async with EnvoyProcess(asks, tmp_path) as envoy:
        assert await wire.fleet.wait(1, CURRENT_S) == ()
        wire.cache.set(Snapshot(2, [a, eds[0], *rest]))
        assert await wire.fleet.wait(2, CURRENT_S) == ()
        assert await asyncio.to_thread(clusters_of, envoy) == {"a"}


@pytest.mark.parametrize("api_type", PROTOCOLS)
async def test_a_fresh_system_does_not_keep_it_waiting(
    wire: Wire, tmp_path: Path, api_type: str
) -> None:
    """Unanswered, Envoy would wait 15 s for its clusters, and 15 s more for its listeners."""
    source = own(api_type)
    asks = bootstrap(wire.port, api_type, clusters=source, listeners=own(api_type))
    async with EnvoyProcess(asks, tmp_path, start_timeout_s=CURRENT_S):
        wire.cache.set(Snapshot(1, [cluster("a", source), endpoints(1, name="a")]))
        assert await wire.fleet.wait(1, CURRENT_S) == ()
