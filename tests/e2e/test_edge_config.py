"""The edge of the admission tests is the compiled edge: neither may change without the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import (  # noqa: F401
    header_mutation_pb2,  # registered, so that it can be read inside an Any
)
from google.protobuf import json_format

from control_plane.compiler.edge import compile_edge
from control_plane.compiler.model import TrafficPolicy
from control_plane.names import LDS
from control_plane.routing.admission.admit import MAX_HEAD_BYTES
from control_plane.routing.rules.parse import parse
from tests.support.edge_bootstrap import connection_manager

PASSTHROUGH = Path(__file__).parents[2] / "rulesets" / "passthrough.json"
# Fields that do not decide which requests are admitted and how they look afterwards.
OTHER_FIELDS = {
    *("codec_type", "delayed_close_timeout", "generate_request_id", "http2_protocol_options"),
    *("http_filters", "rds", "request_headers_timeout", "route_config"),
    *("stat_prefix", "stream_idle_timeout"),
}


def admission(manager: hcm.HttpConnectionManager) -> dict[str, Any]:
    relevant = hcm.HttpConnectionManager()
    relevant.CopyFrom(manager)
    for field in OTHER_FIELDS:
        relevant.ClearField(field)
    relevant.common_http_protocol_options.ClearField("idle_timeout")
    for extension in relevant.early_header_mutation_extensions:
        extension.ClearField("name")
    document: dict[str, Any] = json_format.MessageToDict(relevant, preserving_proto_field_name=True)
    return document


def test_the_compiled_edge_admits_what_the_tested_edge_admits() -> None:
    tested = dict(connection_manager("any"), route_config={}, http_filters=[])
    del tested["@type"]
    expected = admission(json_format.ParseDict(tested, hcm.HttpConnectionManager()))
    policy = TrafficPolicy(debug_networks=("127.0.0.0/8",))
    resources = compile_edge([], parse(PASSTHROUGH.read_text()), policy, 1)
    body = next(one.body for one in resources if one.type_url == LDS)
    edge = listener_pb2.Listener.FromString(body)
    chains = [*edge.filter_chains, edge.default_filter_chain]
    assert len(chains) == 2
    for chain in chains:
        manager = hcm.HttpConnectionManager()
        assert chain.filters[0].typed_config.Unpack(manager)
        assert admission(manager) == expected
        assert manager.max_request_headers_kb.value * 1024 == MAX_HEAD_BYTES
