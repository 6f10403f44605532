"""DeltaDiscoveryRequest, read without making a map of what a client says it has.

A node that reconnects names a thousand resources, and a fleet of a thousand nodes reconnects at
once. On the wire a map is a list of entries (protobuf encoding guide, "Maps"), so they are read as
bytes: those that are the newest snapshot's own need no further look.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from control_plane.xds.resource import length_delimited

_MAP = "initial_resource_versions"
_FULL = discovery_pb2.DeltaDiscoveryRequest.DESCRIPTOR


def _light_class() -> Any:
    """The same message with its map as ``repeated bytes``, in a pool of its own."""
    pool = descriptor_pool.DescriptorPool()
    _add_imports(pool, _FULL.file, set())
    file = descriptor_pb2.FileDescriptorProto()
    _FULL.file.CopyToProto(file)
    (message,) = (one for one in file.message_type if one.name == _FULL.name)
    (field,) = (one for one in message.field if one.name == _MAP)
    field.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
    field.ClearField("type_name")
    del message.nested_type[:]
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(_FULL.full_name))


def _add_imports(pool: Any, file: Any, seen: set[str]) -> None:
    for one in file.dependencies:
        if one.name in seen:
            continue
        seen.add(one.name)
        _add_imports(pool, one, seen)
        made = descriptor_pb2.FileDescriptorProto()
        one.CopyToProto(made)
        pool.Add(made)


LightRequest = _light_class()
_Entry: Any = message_factory.GetMessageClass(
    _FULL.nested_types_by_name["InitialResourceVersionsEntry"]
)


def entry(name: str, version: str) -> bytes:
    """An entry of the map as every protobuf library writes it: key 1, then value 2."""
    return length_delimited(1, name.encode()) + length_delimited(2, version.encode())


def parsed(raw: bytes) -> tuple[str, str]:
    """An entry's name and version, however it is written."""
    made = _Entry.FromString(raw)
    return made.key, made.value


def as_light(request: Any) -> Any:
    """A request of either class as a light one."""
    if isinstance(request, LightRequest):
        return request
    return LightRequest.FromString(request.SerializeToString())


def named_versions(
    request: Any, entries: frozenset[bytes], known: Mapping[str, str]
) -> Mapping[str, str]:
    """What the client says it has; ``known`` itself, whose entries are given, if that is it."""
    given = frozenset(request.initial_resource_versions)
    return known if given == entries else dict(parsed(raw) for raw in given)
