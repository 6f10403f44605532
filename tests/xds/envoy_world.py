"""Bootstraps of Envoys whose types come over streams of their own, and resources for these Envoys."""

from __future__ import annotations

import urllib.request
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2

# Registered for the listener's JSON.
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import (  # noqa: F401
    http_connection_manager_pb2,
)
from google.protobuf import json_format

from control_plane.names import CDS, LDS, RDS
from control_plane.xds.resource import Resource
from tests.support.envoy_process import EnvoyProcess

NODE = "own-streams"
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
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode(), dict(answer.headers.items())
