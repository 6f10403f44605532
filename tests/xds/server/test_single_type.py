"""The single-type services, by the generated stubs, and what reflection says of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.cluster.v3 import cds_pb2_grpc
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.endpoint.v3 import eds_pb2_grpc
from envoy.service.extension.v3 import config_discovery_pb2_grpc
from envoy.service.listener.v3 import lds_pb2_grpc
from envoy.service.route.v3 import rds_pb2_grpc
from envoy.service.runtime.v3 import rtds_pb2_grpc
from envoy.service.secret.v3 import sds_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from control_plane.names import CDS, ECDS, EDS, LDS, RDS, RTDS, SDS
from control_plane.server import running
from control_plane.settings import Settings
from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import Snapshot
from tests.xds.server.wire import Wire, read, until

SERVICES = [
    (cds_pb2_grpc.ClusterDiscoveryServiceStub, "Clusters", CDS),
    (eds_pb2_grpc.EndpointDiscoveryServiceStub, "Endpoints", EDS),
    (lds_pb2_grpc.ListenerDiscoveryServiceStub, "Listeners", LDS),
    (rds_pb2_grpc.RouteDiscoveryServiceStub, "Routes", RDS),
    (config_discovery_pb2_grpc.ExtensionConfigDiscoveryServiceStub, "ExtensionConfigs", ECDS),
    (sds_pb2_grpc.SecretDiscoveryServiceStub, "Secrets", SDS),
    (rtds_pb2_grpc.RuntimeDiscoveryServiceStub, "Runtime", RTDS),
]
NODE = base_pb2.Node(id="n1", cluster="edge")


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with Wire() as made:
        types = (CDS, EDS, LDS, RDS, ECDS, SDS, RTDS)
        made.cache.set(Snapshot(1, [Resource.of(url, "a", b"") for url in types]))
        yield made


@pytest.mark.parametrize(("stub", "noun", "type_url"), SERVICES)
async def test_delta_with_the_type_implied(wire: Wire, stub: Any, noun: str, type_url: str) -> None:
    call = getattr(stub(wire.channel), f"Delta{noun}")()
    await call.write(discovery_pb2.DeltaDiscoveryRequest(node=NODE, resource_names_subscribe=["a"]))
    response = await read(call)
    assert response.type_url == type_url
    assert [resource.name for resource in response.resources] == ["a"]
    await call.write(discovery_pb2.DeltaDiscoveryRequest(response_nonce=response.nonce))
    await until(lambda: wire.fleet.nodes()[0].state == "SYNCED")
    assert wire.fleet.nodes()[0].acked_revision == 1
    call.cancel()


@pytest.mark.parametrize(("stub", "noun", "type_url"), SERVICES)
async def test_state_of_the_world_with_the_type_implied(
    wire: Wire, stub: Any, noun: str, type_url: str
) -> None:
    call = getattr(stub(wire.channel), f"Stream{noun}")()
    await call.write(discovery_pb2.DiscoveryRequest(node=NODE, resource_names=["a"]))
    response = await read(call)
    assert [resource.type_url for resource in response.resources] == [type_url]
    call.cancel()


async def test_another_type_on_a_single_type_stream_goes_unanswered(wire: Wire) -> None:
    call = cds_pb2_grpc.ClusterDiscoveryServiceStub(wire.channel).DeltaClusters()
    await call.write(discovery_pb2.DeltaDiscoveryRequest(node=NODE, type_url=LDS))
    await call.write(discovery_pb2.DeltaDiscoveryRequest())
    assert (await read(call)).type_url == CDS
    call.cancel()


async def test_two_streams_of_one_node_are_one_node(wire: Wire) -> None:
    calls = []
    for stub, noun, _ in SERVICES[:2]:
        call = getattr(stub(wire.channel), f"Delta{noun}")()
        await call.write(
            discovery_pb2.DeltaDiscoveryRequest(node=NODE, resource_names_subscribe=["a"])
        )
        response = await read(call)
        await call.write(discovery_pb2.DeltaDiscoveryRequest(response_nonce=response.nonce))
        calls.append(call)
    await until(lambda: wire.fleet.lagging(1) == () and len(wire.fleet.nodes()[0].types) == 2)
    assert [node.id for node in wire.fleet.nodes()] == ["n1"]
    assert {status.type_url for status in wire.fleet.resources("n1")} == {CDS, EDS}
    for call in calls:
        call.cancel()


async def test_reflection_lists_and_describes_every_service(tmp_path: Path) -> None:
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/r.db",
        api_port=0,
        grpc_port=0,
        classifier_port=0,
        classifier_workers=0,
        data_dir=tmp_path,
    )
    request = reflection_pb2.ServerReflectionRequest
    async with (
        running(settings) as plane,
        grpc.aio.insecure_channel(f"127.0.0.1:{plane.ports.grpc}") as channel,
    ):
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        await call.write(request(list_services=""))
        listed = {one.name for one in (await read(call)).list_services_response.service}
        assert listed >= {
            "envoy.service.auth.v3.Authorization",
            "envoy.service.cluster.v3.ClusterDiscoveryService",
            "envoy.service.discovery.v3.AggregatedDiscoveryService",
            "envoy.service.endpoint.v3.EndpointDiscoveryService",
            "envoy.service.extension.v3.ExtensionConfigDiscoveryService",
            "envoy.service.listener.v3.ListenerDiscoveryService",
            "envoy.service.route.v3.RouteDiscoveryService",
            "envoy.service.runtime.v3.RuntimeDiscoveryService",
            "envoy.service.secret.v3.SecretDiscoveryService",
            "envoy.service.status.v3.ClientStatusDiscoveryService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        for name in sorted(listed):
            await call.write(request(file_containing_symbol=name))
            answer = await read(call)
            assert answer.HasField("file_descriptor_response"), name
        call.cancel()
