"""The real Envoy with types on streams of their own, as far as it asks for a type at all."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2

# Registered for the listener's JSON.
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import (  # noqa: F401
    http_connection_manager_pb2,
)
from google.protobuf import json_format

from control_plane.names import CDS, ECDS, EDS, LDS, RDS
from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import Snapshot
from tests.support.envoy_process import EnvoyProcess
from tests.xds.grpc_world import endpoints
from tests.xds.server.wire import Wire

NODE = "own-streams"
CURRENT_S = 3.0
"""How long Envoy may take to be current: far less than any time-out of the server's."""
TYPE = "type.googleapis.com/envoy.extensions"
PROTOCOLS = ("GRPC", "DELTA_GRPC")
ADS: dict[str, Any] = {"resource_api_version": "V3", "ads": {}}


def stream(api_type: str) -> dict[str, Any]:
    """A stream of its own to the control plane."""
    return {
        "api_type": api_type,
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
    }


def own(api_type: str) -> dict[str, Any]:
    """A config source that is a stream of its own."""
    return {"resource_api_version": "V3", "api_config_source": stream(api_type)}


def bootstrap(
    xds_port: int, api_type: str, *, clusters: dict[str, Any], listeners: dict[str, Any] | None
) -> dict[str, Any]:
    """An Envoy that takes its clusters, and listeners if it has any, from these sources."""
    options = f"{TYPE}.upstreams.http.v3.HttpProtocolOptions"
    http2 = {"@type": options, "explicit_http_config": {"http2_protocol_options": {}}}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": xds_port}}
    xds = {
        "name": "xds",
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2
        },
        "load_assignment": {
            "cluster_name": "xds",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    dynamic: dict[str, Any] = {"cds_config": clusters}
    if ADS in (clusters, listeners):
        dynamic["ads_config"] = stream(api_type)
    if listeners is not None:
        dynamic["lds_config"] = listeners
    return {
        "node": {"id": NODE, "cluster": "edge"},
        "dynamic_resources": dynamic,
        "static_resources": {"clusters": [xds]},
    }


def parsed(type_url: str, message: Any, content: dict[str, Any]) -> Resource:
    body = json_format.ParseDict(content, message).SerializeToString(deterministic=True)
    return Resource.of(type_url, content["name"], body)


def cluster(name: str, endpoints_from: dict[str, Any]) -> Resource:
    content = {
        "name": name,
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": {"eds_config": endpoints_from},
    }
    return parsed(CDS, cluster_pb2.Cluster(), content)


def listener(api_type: str) -> Resource:
    manager = {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "rds": {"route_config_name": "routes", "config_source": own(api_type)},
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{TYPE}.filters.http.router.v3.Router"}}
        ],
    }
    content = {
        "name": "edge",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    }
    return parsed(LDS, listener_pb2.Listener(), content)


def routes(tag: str) -> Resource:
    """Routes that answer with a tag themselves, whatever is asked."""
    answer = {"status": 200, "body": {"inline_string": tag}}
    route = {"match": {"prefix": "/"}, "direct_response": answer}
    host = {"name": "all", "domains": ["*"], "routes": [route]}
    return parsed(RDS, route_pb2.RouteConfiguration(), {"name": "routes", "virtual_hosts": [host]})


def asked(envoy: EnvoyProcess) -> tuple[str, dict[str, str]]:
    """The body and the headers of an answer of the listener's."""
    url = f"http://127.0.0.1:{envoy.listener_port('edge')}/"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode(), dict(answer.headers.items())


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
