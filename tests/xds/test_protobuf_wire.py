"""Fields that are written by hand are those that protobuf writes."""

from __future__ import annotations

from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import given
from hypothesis import strategies as st

from control_plane.xds.protobuf_wire import length_delimited, string_map_entry


@given(st.integers(1, 1 << 29), st.sampled_from([0, 1, 127, 128, 16_383, 16_384, 100_000]))
def test_field_numbers_and_lengths_of_any_size_are_varints(field: int, length: int) -> None:
    written = length_delimited(field, b"x" * length)
    tag, rest = _read_varint(written)
    size, payload = _read_varint(rest)
    assert (tag >> 3, tag & 7) == (field, 2)
    assert (size, payload) == (length, b"x" * length)


def _read_varint(data: bytes) -> tuple[int, bytes]:
    number = shift = 0
    for index, byte in enumerate(data):
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, data[index + 1 :]
        shift += 7
    raise AssertionError("no end")


@given(st.text(), st.text())
def test_a_map_entry_is_what_protobuf_writes(key: str, value: str) -> None:
    request = discovery_pb2.DeltaDiscoveryRequest(initial_resource_versions={key: value})
    field = discovery_pb2.DeltaDiscoveryRequest.INITIAL_RESOURCE_VERSIONS_FIELD_NUMBER
    written = length_delimited(field, string_map_entry(key, value))
    assert discovery_pb2.DeltaDiscoveryRequest.FromString(written) == request
