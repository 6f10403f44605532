"""The versions that a client says it has are those of the message, however it is written."""

from __future__ import annotations

from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import given
from hypothesis import strategies as st

from control_plane.names import CDS
from control_plane.xds.resource import Resource
from control_plane.xds.session.delta_request import (
    DeltaRequest,
    as_delta_request,
    initial_versions,
    parse_entry,
)
from control_plane.xds.snapshot import Resources

names = st.sampled_from("abcd")


versions = st.sampled_from(["1", "2", ""])


mappings = st.dictionaries(names, versions)


@given(mappings, mappings)
def test_versions_read_from_the_wire_are_those_of_the_message(
    says: dict[str, str], known: dict[str, str]
) -> None:
    request = discovery_pb2.DeltaDiscoveryRequest(
        type_url=CDS, response_nonce="7", initial_resource_versions=says
    )
    light = as_delta_request(request)
    assert isinstance(light, DeltaRequest)
    assert (light.type_url, light.response_nonce) == (CDS, "7")
    published = Resources(
        {name: Resource(CDS, name, version, b"") for name, version in known.items()}
    )
    assert initial_versions(light, published) == says


def test_an_entry_in_another_order_or_without_its_value_is_read_too() -> None:
    assert parse_entry(b"\x12\x01v\x0a\x01k") == ("k", "v")
    assert parse_entry(b"\x0a\x01k") == ("k", "")
