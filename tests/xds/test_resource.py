"""The fields of a resource are those that protobuf writes for the same message."""

from __future__ import annotations

from envoy.config.cluster.v3 import cluster_pb2
from envoy.service.discovery.v3 import discovery_pb2

from control_plane.names import CDS
from control_plane.xds.resource import Resource

BODY = cluster_pb2.Cluster(name="a").SerializeToString()


def test_a_resource_is_spliced_into_a_response_of_either_variant() -> None:
    resource = Resource.of(CDS, "a", BODY)
    delta = discovery_pb2.DeltaDiscoveryResponse.FromString(resource.delta_field)
    (one,) = delta.resources
    assert (one.name, one.version) == ("a", resource.version)
    assert (one.resource.type_url, one.resource.value) == (CDS, BODY)
    sotw = discovery_pb2.DiscoveryResponse.FromString(resource.sotw_field)
    assert [(body.type_url, body.value) for body in sotw.resources] == [(CDS, BODY)]


def test_a_version_is_a_hash_of_the_content_and_of_nothing_else() -> None:
    assert Resource.of(CDS, "a", BODY).version == Resource.of(CDS, "b", BODY).version
    assert Resource.of(CDS, "a", BODY).version != Resource.of(CDS, "a", b"").version


def test_the_size_is_known_about_without_making_the_field() -> None:
    resource = Resource.of(CDS, "a-name", b"x" * 1000)
    assert 0 <= resource.delta_size - len(resource.delta_field) < 24
    assert "delta_field" in vars(resource)
