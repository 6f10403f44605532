"""Which variant of the configuration a node gets, and what the plain one of a saved variant is."""

from __future__ import annotations

from control_plane.compiler.edge_map.capable import is_tried, says_module
from control_plane.compiler.edge_map.plain import plain_of
from control_plane.compiler.model import EnvoyResource
from control_plane.names import MODULE_VARIANT
from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import Snapshot
from control_plane.xds.variants import PLAIN, NodeFacts


def variant_of(node: NodeFacts) -> str:
    """Return the variant for a node: that of the module, if it has the module."""
    capable = says_module(node.metadata) and is_tried(node.version)
    return MODULE_VARIANT if capable else PLAIN


def plain_snapshot(snapshot: Snapshot) -> Snapshot:
    """Return the plain snapshot that a variant was made of; ``snapshot`` itself if it is plain."""
    resources = [one for each in snapshot.types for one in snapshot.of_type(each).values()]
    plain = [_plain(one) for one in resources]
    if all(made is one for one, made in zip(resources, plain, strict=True)):
        return snapshot
    return Snapshot(snapshot.revision, [made for made in plain if made is not None])


def _plain(resource: Resource) -> Resource | None:
    compiled = EnvoyResource(resource.type_url, resource.name, resource.body)
    made = plain_of(compiled)
    if made is None:
        return None
    if made is compiled:
        return resource
    return Resource.of(made.type_url, made.name, made.body)
