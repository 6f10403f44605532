"""What a request must look like, whatever its session makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2

from control_plane.names import CDS, EDS
from control_plane.xds.server.request_check import (
    check_node,
    check_request,
    check_same_node,
    envoy_version,
)
from control_plane.xds.session.ledger import ProtocolError

KINDS = [
    (discovery_pb2.DiscoveryRequest, "resource_names"),
    (discovery_pb2.DeltaDiscoveryRequest, "resource_names_subscribe"),
]
each_kind = pytest.mark.parametrize(("kind", "field"), KINDS)


@each_kind
def test_a_single_type_service_implies_its_type(kind: Any, field: str) -> None:
    request = kind()
    check_request(request, CDS, 10)
    assert request.type_url == CDS
    other = kind(type_url=EDS)
    check_request(other, CDS, 10)
    assert other.type_url == EDS, "the session leaves that unanswered"


@each_kind
def test_a_type_is_needed_and_names_are_bounded(kind: Any, field: str) -> None:
    with pytest.raises(ProtocolError, match="type_url is missing"):
        check_request(kind(), "", 10)
    check_request(kind(type_url=CDS, **{field: ["a", "b"]}), "", 2)
    with pytest.raises(ProtocolError, match="3 names"):
        check_request(kind(type_url=CDS, **{field: ["a", "b", "c"]}), "", 2)


def test_a_stream_is_one_nodes_and_later_requests_need_not_say_whose() -> None:
    for node in (base_pb2.Node(), base_pb2.Node(id="n"), base_pb2.Node(id="n", cluster="edge")):
        check_same_node(node, "n", "edge")
    for node in (base_pb2.Node(id="m"), base_pb2.Node(id="n", cluster="other")):
        with pytest.raises(ProtocolError, match="this stream is that of 'n' in 'edge'"):
            check_same_node(node, "n", "edge")


@pytest.mark.parametrize(
    ("node", "cluster"),
    [("", "edge"), ("a b", ""), ("n", "a\nb"), ("é", ""), ("x" * 257, ""), ("n", "x" * 257)],
)
def test_a_name_that_is_missing_or_can_not_be_shown_is_refused(node: str, cluster: str) -> None:
    with pytest.raises(ProtocolError, match="visible ASCII"):
        check_node(base_pb2.Node(id=node, cluster=cluster))


def test_a_group_need_not_be_named() -> None:
    check_node(base_pb2.Node(id="n"))


def test_the_version_of_a_client_that_says_none_is_zero() -> None:
    node = base_pb2.Node(id="n")
    assert envoy_version(node) == "0.0.0"
    node.user_agent_build_version.version.major_number = 1
    node.user_agent_build_version.version.minor_number = 40
    assert envoy_version(node) == "1.40.0"
