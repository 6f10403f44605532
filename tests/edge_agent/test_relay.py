"""The agent between a control plane and a client that speaks delta xDS, over real gRPC."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy.service.discovery.v3 import ads_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from control_plane.edge_agent import saver, upstream
from control_plane.edge_agent.agent import AgentSettings, RunningAgent, running
from control_plane.edge_agent.upstream import ADS, KEEPALIVE_S
from control_plane.names import CDS, LDS
from control_plane.xds.fleet.fleet import Fleet
from control_plane.xds.resource import Resource
from control_plane.xds.server import transport
from control_plane.xds.server.server import XdsServer
from control_plane.xds.server.transport import MIN_CLIENT_PING_INTERVAL_S, grpc_options
from control_plane.xds.snapshot import Snapshot
from control_plane.xds.snapshot_cache import SnapshotCache
from tests.edge_agent.ads_client import AdsClient
from tests.support.conditions import until
from tests.support.ports import unused_port

WAIT_S = 20.0


def edge(revision: int, *clusters: str, body: bytes = b"") -> Snapshot:
    made = [Resource.of(CDS, name, body) for name in clusters]
    return Snapshot(revision, [*made, Resource.of(LDS, "edge", b"")])


@dataclass
class Plane:
    """A control plane that may be stopped, and started with another snapshot; stopped at the end."""

    port: int = field(default_factory=unused_port)
    _server: grpc.aio.Server | None = None

    async def __aenter__(self) -> Plane:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, snapshot: Snapshot) -> None:
        self.cache = SnapshotCache()
        self.cache.set(snapshot)
        self.xds = XdsServer(self.cache, Fleet())
        self._server = grpc.aio.server(options=grpc_options())
        self.xds.register(self._server)
        health = HealthServicer()
        await health.set(ADS, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(health, self._server)
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            self.xds.stop()
            await self._server.stop(1)
            self._server = None


@contextlib.asynccontextmanager
async def agent_of(plane: Plane, directory: Path) -> AsyncIterator[tuple[RunningAgent, AdsClient]]:
    settings = AgentSettings(f"127.0.0.1:{plane.port}", directory)
    async with running(settings) as agent, AdsClient(agent.address) as client:
        yield agent, client


@pytest.fixture(autouse=True)
def _slow_is_not_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be patient: a busy machine may take longer to answer, and to report the status of a stream."""
    monkeypatch.setattr(upstream, "ANSWER_S", WAIT_S)
    monkeypatch.setattr(upstream, "STATUS_S", WAIT_S)


def streams(agent: RunningAgent, source: str) -> Any:
    return agent.metrics.registry.get_sample_value("cellway_agent_streams", {"from": source})


async def saved(plane: Plane, directory: Path, snapshot: Snapshot) -> None:
    """Have a snapshot on disk, and no control plane."""
    await plane.start(snapshot)
    async with agent_of(plane, directory) as (agent, client), client.connected():
        await until(lambda: agent.store.newest is not None)
    await plane.stop()


async def test_changes_pass_through_and_are_kept(tmp_path: Path) -> None:
    async with Plane() as plane:
        await plane.start(edge(1, "a"))
        async with agent_of(plane, tmp_path) as (agent, client), client.connected():
            await until(lambda: client.clusters() == {"a"})
            plane.cache.set(edge(2, "a", "b"))
            await until(lambda: client.clusters() == {"a", "b"})
            plane.cache.set(edge(3, "b"))
            await until(lambda: client.clusters() == {"b"})
            await until(lambda: agent.store.newest and agent.store.newest.revision == 3)
            assert set(agent.store.newest.snapshot.of_type(CDS)) == {"b"}


async def test_pings_on_a_silent_stream_end_neither_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ten times as fast as in truth, and ten times as much is allowed: gRPC pings once a second at most.
    monkeypatch.setattr(transport, "MIN_CLIENT_PING_INTERVAL_S", MIN_CLIENT_PING_INTERVAL_S / 10)
    monkeypatch.setattr(upstream, "_OPTIONS", _pinging_every(KEEPALIVE_S / 10))
    async with Plane() as plane:
        await plane.start(edge(1, "a"))
        async with running(AgentSettings(f"127.0.0.1:{plane.port}", tmp_path)) as agent:
            pinging = AdsClient(agent.address, keepalive_s=KEEPALIVE_S / 10)
            async with pinging as client, client.connected():
                await until(lambda: client.clusters() == {"a"})
                await asyncio.sleep(8 * KEEPALIVE_S / 10)
                assert not client.ended()
                # It is still the first stream, all the way.
                plane.cache.set(edge(2, "a", "b"))
                await until(lambda: client.clusters() == {"a", "b"})


def _pinging_every(interval_s: float) -> tuple[tuple[str, int], ...]:
    options = dict(upstream._OPTIONS)
    options["grpc.keepalive_time_ms"] = round(interval_s * 1000)
    return tuple(options.items())


async def test_one_that_knows_nothing_is_served_from_disk_until_the_control_plane_is_back(
    tmp_path: Path,
) -> None:
    async with Plane() as plane:
        await saved(plane, tmp_path, edge(5, "a", "b"))
        async with agent_of(plane, tmp_path) as (agent, client):
            async with client.connected():
                await until(lambda: client.clusters() == {"a", "b"})
                assert streams(agent, "snapshot") == 1
                await plane.start(edge(5, "a", "b"))
                await until(lambda: streams(agent, "snapshot") == 0)
            async with client.connected():
                await until(lambda: streams(agent, "live") == 1)
                # What it was given from disk is what the control plane has.
                plane.cache.set(edge(6, "a", "b", "c"))
                await until(lambda: client.clusters() == {"a", "b", "c"})
                assert sum(len(response.resources) for response in client.received[-1:]) == 1


async def test_one_that_runs_something_is_never_given_the_disks_but_waits(tmp_path: Path) -> None:
    async with Plane() as plane:
        await saved(plane, tmp_path, edge(5, "a"))
        async with agent_of(plane, tmp_path) as (agent, client):
            client.has[CDS] = {"a": "newer than the disk"}
            async with client.connected():
                await until(lambda: streams(agent, "waiting") == 1)
                assert not client.received
                await plane.start(edge(7, "b"))
                # The stream that waited goes live: no reconnect.
                await until(lambda: client.clusters() == {"b"})
                assert (streams(agent, "waiting"), streams(agent, "live")) == (0, 1)
                await until(lambda: agent.store.newest.revision == 7)


async def test_what_an_agent_without_a_disk_does_not_know_is_sent_again(tmp_path: Path) -> None:
    async with Plane() as plane:
        await plane.start(edge(5, "a", "b"))
        async with agent_of(plane, tmp_path) as (agent, client):
            version = Resource.of(CDS, "a", b"").version
            client.has[CDS] = {"a": version, "b": version, "gone": "x"}
            async with client.connected():
                await until(lambda: client.clusters() == {"a", "b"})
                await until(lambda: agent.store.newest is not None)
                await until(lambda: set(agent.store.newest.snapshot.of_type(CDS)) == {"a", "b"})


@pytest.mark.parametrize("older", [edge(4, "a"), Snapshot(0, [])], ids=["replica", "empty"])
async def test_an_older_control_plane_is_not_passed_on(tmp_path: Path, older: Snapshot) -> None:
    async with Plane() as plane:
        await saved(plane, tmp_path, edge(5, "a", "b"))
        await plane.start(older)
        async with agent_of(plane, tmp_path) as (agent, client):
            async with client.connected():
                await until(client.ended)
            assert not client.received
            assert "this edge has had 5" in client.error
            assert agent.metrics.registry.get_sample_value("cellway_agent_older_refused_total") == 1
            # Envoy comes again at once, and has its last good configuration.
            async with client.connected():
                await until(lambda: client.clusters() == {"a", "b"})
            assert agent.store.newest.revision == 5


async def test_others_are_told_why_not(tmp_path: Path) -> None:
    async with Plane() as plane:
        await saved(plane, tmp_path, edge(5, "a"))
        async with agent_of(plane, tmp_path) as (agent, client):
            async with client.connected():
                await until(lambda: client.clusters() == {"a"})
            async with AdsClient(agent.address, node="n2") as other, other.connected():
                await until(other.ended)
            assert "this is 'n1''s agent" in other.error
            async with grpc.aio.insecure_channel(agent.address) as channel:
                stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel)
                with pytest.raises(grpc.aio.AioRpcError, match="delta xDS only"):
                    async for _ in stub.StreamAggregatedResources(iter(())):
                        pass


async def test_another_groups_snapshot_is_not_served(tmp_path: Path) -> None:
    async with Plane() as plane:
        await saved(plane, tmp_path, edge(5, "a"))
        async with agent_of(plane, tmp_path) as (agent, _):
            async with AdsClient(agent.address, group="other") as client, client.connected():
                await until(lambda: streams(agent, "waiting") == 1)
            assert not client.received


async def test_what_could_not_be_written_is_alarmed_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saver, "RETRY_S", 0.1)
    async with Plane() as plane:
        await saved(plane, tmp_path, edge(5, "a"))
        await plane.start(edge(6, "a", "b"))
        async with agent_of(plane, tmp_path) as (agent, client):

            def alarmed() -> Any:
                return agent.metrics.registry.get_sample_value("cellway_agent_snapshot_unsaved")

            save, broken = agent.store.save, True

            def full(one: Any) -> Path:
                if broken:
                    raise OSError(28, "No space left on device")
                return save(one)

            monkeypatch.setattr(agent.store, "save", full)
            async with client.connected():
                await until(lambda: alarmed() == 1)
                # Envoy has it nevertheless.
                await until(lambda: client.clusters() == {"a", "b"})
                assert agent.store.newest.revision == 5
                broken = False
                await until(lambda: alarmed() == 0)
                assert agent.store.newest.revision == 6


async def test_the_control_planes_word_is_told_even_if_a_write_meets_the_end() -> None:
    class Call:
        """Says first what grpc.aio puts there when a write fails, then the status as it came."""

        said = iter(["Internal error from Core", "Internal error from Core"])

        async def details(self) -> str:
            return next(self.said, "you may not")

        async def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.PERMISSION_DENIED

    assert await upstream.final_status(Call()) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "you may not",
    )
