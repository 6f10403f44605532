"""Resources that hold a name and a tag, for conformance tests."""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.cluster.v3 import cluster_pb2

from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import Snapshot
from tests.xds.server.wire import Wire


def resource(type_url: str, name: str, tag: str) -> Resource:
    """A resource that holds its name and a tag (as a cluster would; the server reads neither)."""
    body = cluster_pb2.Cluster(name=name, alt_stat_name=tag).SerializeToString()
    return Resource.of(type_url, name, body)


def publish(wire: Wire, revision: int, *worlds: tuple[str, dict[str, str]]) -> None:
    """Publish, as one revision, resources as type and tag by name; whatever was there before."""
    resources = [resource(url, name, tag) for url, world in worlds for name, tag in world.items()]
    wire.cache.set(Snapshot(revision, resources), force=True)


def tags(names: Iterable[str], tag: str = "1") -> dict[str, str]:
    """The same tag for each of these names."""
    return dict.fromkeys(names, tag)
