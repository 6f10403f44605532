"""DeltaDiscoveryRequest, read without making a map of the versions that a client says it has.

The problem: a node that reconnects names a thousand resources with their versions, and a fleet of a
thousand nodes reconnects at once. To make a dict of each such map costs more than all the rest of a
reconnect. The idea: on the wire a map is a list of entries (protobuf encoding guide, "Maps"), so
`DeltaRequest` is the same message with its map declared as ``repeated bytes``. The entries of the
newest snapshot are serialised once (`Resources.version_entries`), and a client that is up to date
sends exactly this set of entries:

    {b"\\n\\x01a\\x12\\x04f00d", b"\\n\\x01b\\x12\\x04beef"}     means  {"a": "f00d", "b": "beef"}

Only entries that differ from the snapshot's own are parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from control_plane.xds.snapshot import Resources

_MAP = "initial_resource_versions"
_ORIGINAL = discovery_pb2.DeltaDiscoveryRequest.DESCRIPTOR


def _with_raw_map() -> Any:
    """Return the message class whose map is ``repeated bytes``, from a pool of its own."""
    pool = descriptor_pool.DescriptorPool()
    _add_imports(pool, _ORIGINAL.file, set())
    file = descriptor_pb2.FileDescriptorProto()
    _ORIGINAL.file.CopyToProto(file)
    (message,) = (one for one in file.message_type if one.name == _ORIGINAL.name)
    (field,) = (one for one in message.field if one.name == _MAP)
    field.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
    field.ClearField("type_name")
    del message.nested_type[:]
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(_ORIGINAL.full_name))


def _add_imports(pool: Any, file: Any, added: set[str]) -> None:
    """Add the files that a file imports to a pool, each after its own imports."""
    for imported in file.dependencies:
        if imported.name in added:
            continue
        added.add(imported.name)
        _add_imports(pool, imported, added)
        description = descriptor_pb2.FileDescriptorProto()
        imported.CopyToProto(description)
        pool.Add(description)


DeltaRequest = _with_raw_map()
_Entry: Any = message_factory.GetMessageClass(
    _ORIGINAL.nested_types_by_name["InitialResourceVersionsEntry"]
)


def parse_entry(raw: bytes) -> tuple[str, str]:
    """Return the name and the version of a map entry, in whatever form it was serialised."""
    entry = _Entry.FromString(raw)
    return entry.key, entry.value


def as_delta_request(request: Any) -> Any:
    """Return a request of either class as a `DeltaRequest`."""
    if isinstance(request, DeltaRequest):
        return request
    return DeltaRequest.FromString(request.SerializeToString())


def initial_versions(request: Any, published: Resources) -> Mapping[str, str]:
    """Return the versions that a client says it has, by name.

    Args:
        request: A `DeltaRequest`.
        published: The newest resources of its type.

    Returns:
        ``published.versions`` itself if the client has exactly these.
    """
    entries = frozenset(request.initial_resource_versions)
    if entries == published.version_entries:
        return published.versions
    return dict(parse_entry(raw) for raw in entries)
