"""CSDS: what each node runs, asked for over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from envoy.admin.v3 import config_dump_shared_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.service.status.v3 import csds_pb2
from envoy.type.matcher.v3 import node_pb2, string_pb2

from control_plane.names import CDS, RDS, SDS
from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import Snapshot
from tests.xds.server.wire import WAIT_S, Wire, answer, clusters, first, read, until

Client = config_dump_shared_pb2.ClientResourceStatus


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with Wire() as made:
        yield made


def node_matcher(**pattern: Any) -> Any:
    return node_pb2.NodeMatcher(node_id=string_pb2.StringMatcher(**pattern))


def request(*matchers: Any, **fields: Any) -> Any:
    return csds_pb2.ClientStatusRequest(node_matchers=matchers, **fields)


async def fetch(wire: Wire, *matchers: Any, **fields: Any) -> Any:
    return await wire.status.FetchClientStatus(request(*matchers, **fields), timeout=WAIT_S)


async def join(wire: Wire, node: str) -> Any:
    """A node that has ACKed its clusters."""
    call = wire.stub.DeltaAggregatedResources()
    await call.write(first(node))
    await call.write(answer(await read(call)))
    await until(lambda: any(n.id == node and n.state == "SYNCED" for n in wire.fleet.nodes()))
    return call


async def test_what_was_acknowledged_is_there_with_its_version_and_content(wire: Wire) -> None:
    body = cluster_pb2.Cluster(name="a").SerializeToString()
    snapshot = clusters(1, "a", body=body)
    wire.cache.set(snapshot)
    call = await join(wire, "n1")
    (config,) = (await fetch(wire)).config
    assert (config.node.id, config.node.cluster) == ("n1", "edge")
    (shown,) = config.generic_xds_configs
    assert (shown.type_url, shown.name) == (CDS, "a")
    assert shown.version_info == snapshot.of_type(CDS)["a"].version
    assert (shown.config_status, shown.client_status) == (csds_pb2.SYNCED, Client.ACKED)
    unpacked = cluster_pb2.Cluster()
    assert shown.xds_config.Unpack(unpacked)
    assert unpacked.name == "a"
    bare = await fetch(wire, exclude_resource_contents=True)
    assert not bare.config[0].generic_xds_configs[0].HasField("xds_config")
    call.cancel()


async def test_a_refused_resource_shows_both_versions_and_the_clients_words(wire: Wire) -> None:
    good, bad = clusters(1, "a", "b", body=b"\x0a\x01a"), clusters(2, "a", body=b"\x0a\x01b")
    wire.cache.set(good)
    call = await join(wire, "n1")
    both = Snapshot(2, [*bad.of_type(CDS).values(), good.of_type(CDS)["b"]])
    wire.cache.set(both)
    sent = await read(call)
    shown = {c.name: c for c in (await fetch(wire)).config[0].generic_xds_configs}
    assert (shown["a"].config_status, shown["a"].client_status) == (
        csds_pb2.STALE,
        Client.REQUESTED,
    )
    assert shown["a"].version_info == good.of_type(CDS)["a"].version, "not acknowledged yet"
    await call.write(answer(sent, "a has no endpoints"))
    await until(lambda: wire.fleet.nodes()[0].state == "NACKED")
    shown = {c.name: c for c in (await fetch(wire)).config[0].generic_xds_configs}
    refused = shown["a"]
    assert (refused.config_status, refused.client_status) == (csds_pb2.ERROR, Client.NACKED)
    assert refused.version_info == good.of_type(CDS)["a"].version, "the last good one runs"
    assert refused.error_state.details == "a has no endpoints"
    assert refused.error_state.version_info == bad.of_type(CDS)["a"].version
    assert shown["b"].config_status == csds_pb2.SYNCED
    assert not shown["b"].HasField("error_state")
    call.cancel()


async def test_a_name_that_does_not_exist_says_so(wire: Wire) -> None:
    call = wire.stub.DeltaAggregatedResources()
    await call.write(first("n1", RDS, resource_names_subscribe=["nothing"]))
    await call.write(answer(await read(call)))
    await until(lambda: wire.fleet.nodes())
    (shown,) = (await fetch(wire)).config[0].generic_xds_configs
    assert (shown.name, shown.version_info) == ("nothing", "")
    assert (shown.config_status, shown.client_status) == (
        csds_pb2.NOT_SENT,
        Client.DOES_NOT_EXIST,
    )
    call.cancel()


async def test_private_keys_are_not_shown(wire: Wire) -> None:
    wire.cache.set(Snapshot(1, [Resource.of(SDS, "key", b"\x0a\x03key")]))
    call = wire.stub.DeltaAggregatedResources()
    await call.write(first("n1", SDS, resource_names_subscribe=["key"]))
    await call.write(answer(await read(call)))
    await until(lambda: wire.fleet.lagging(1) == ())
    (shown,) = (await fetch(wire)).config[0].generic_xds_configs
    assert (shown.name, shown.client_status) == ("key", Client.ACKED)
    assert not shown.HasField("xds_config")
    call.cancel()


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ({"exact": "edge-1"}, ["edge-1"]),
        ({"exact": "EDGE-1", "ignore_case": True}, ["edge-1"]),
        ({"prefix": "edge-"}, ["edge-1", "edge-2"]),
        ({"suffix": "2"}, ["edge-2"]),
        ({"contains": "the"}, ["other"]),
        ({"safe_regex": {"regex": "edge-[0-9]"}}, ["edge-1", "edge-2"]),
        ({"safe_regex": {"regex": "edge"}}, []),
    ],
)
async def test_nodes_are_chosen_by_id(
    wire: Wire, pattern: dict[str, Any], expected: list[str]
) -> None:
    wire.cache.set(clusters(1, "a"))
    calls = [await join(wire, node) for node in ("edge-1", "edge-2", "other")]
    found = await fetch(wire, node_matcher(**pattern))
    assert [config.node.id for config in found.config] == expected
    for call in calls:
        call.cancel()


@pytest.mark.parametrize(
    ("matcher", "says"),
    [
        (node_matcher(safe_regex={"regex": "(?=x)"}), "RE2 refuses"),
        (node_pb2.NodeMatcher(node_metadatas=[{}]), "match by node_id"),
        (node_matcher(), "empty matcher"),
    ],
)
async def test_a_matcher_that_can_not_be_answered_is_refused(
    wire: Wire, matcher: Any, says: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await fetch(wire, matcher)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert says in str(caught.value.details())


async def test_the_stream_answers_each_request_as_of_then(wire: Wire) -> None:
    wire.cache.set(clusters(1, "a"))
    stream = wire.status.StreamClientStatus()
    await stream.write(request())
    assert list((await read(stream)).config) == []
    call = await join(wire, "n1")
    await stream.write(request())
    assert [config.node.id for config in (await read(stream)).config] == ["n1"]
    call.cancel()
    await until(lambda: not wire.fleet.nodes()[0].connected)
    await stream.write(request())
    assert list((await read(stream)).config) == [], "only connected nodes"
    stream.cancel()


async def test_an_answer_that_is_too_large_is_refused_loudly() -> None:
    async with Wire(max_answer_bytes=300) as wire:
        wire.cache.set(clusters(1, *"abcdefgh", body=b"\x0a\x01x"))
        call = await join(wire, "n1")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await fetch(wire)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "node_matchers" in str(caught.value.details())
        call.cancel()


async def test_state_of_the_world_streams_are_shown_too(wire: Wire) -> None:
    from envoy.config.core.v3 import base_pb2
    from envoy.service.discovery.v3 import discovery_pb2

    wire.cache.set(clusters(1, "a"))
    call = wire.stub.StreamAggregatedResources()
    node = base_pb2.Node(id="n1", cluster="edge")
    await call.write(discovery_pb2.DiscoveryRequest(node=node, type_url=CDS))
    response = await read(call)
    await call.write(
        discovery_pb2.DiscoveryRequest(
            type_url=CDS, response_nonce=response.nonce, version_info=response.version_info
        )
    )
    await until(lambda: wire.fleet.nodes()[0].state == "SYNCED")
    (shown,) = (await fetch(wire)).config[0].generic_xds_configs
    assert (shown.name, shown.client_status) == ("a", Client.ACKED)
    call.cancel()
