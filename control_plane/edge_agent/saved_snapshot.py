"""A snapshot as a file: checked when it is read, so that a damaged one is never served.

A file is a line of JSON, then a serialised ``DeltaDiscoveryResponse`` with all resources. Example:

    {"schema": 1, "revision": 12, "group": "edge", "bytes": 48123, "sha256": "…", "saved_at": "…"}
    <48,123 bytes>
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError

from control_plane.xds.protobuf_wire import length_delimited
from control_plane.xds.resource import Resource
from control_plane.xds.resource_types import PUSH_ORDER
from control_plane.xds.snapshot import Snapshot

SCHEMA = 1
MAX_HEADER_BYTES = 64 << 10


class BadSnapshot(Exception):
    """A file is not a whole snapshot of a schema that this agent reads; the text says why."""


@dataclass(frozen=True, slots=True)
class SavedSnapshot:
    """A snapshot as one group of nodes was sent it."""

    snapshot: Snapshot
    group: str

    @property
    def revision(self) -> int:
        """The newest revision that is in it."""
        return self.snapshot.revision


def encode(saved: SavedSnapshot) -> bytes:
    """Return a file's content.

    The checksum in the header is that of the response, which holds the revision once more.
    """
    snapshot = saved.snapshot
    fields = [length_delimited(1, str(snapshot.revision).encode())]
    for type_url in PUSH_ORDER:
        fields += [one.delta_field for _, one in sorted(snapshot.of_type(type_url).items())]
    payload = b"".join(fields)
    header = {
        "schema": SCHEMA,
        "revision": snapshot.revision,
        "group": saved.group,
        "bytes": len(payload),
        "sha256": hashlib.sha256(payload).hexdigest(),
        "saved_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return json.dumps(header).encode() + b"\n" + payload


def decode(content: bytes) -> SavedSnapshot:
    """Return the snapshot of a file's content. Unknown keys of the header are ignored.

    Raises:
        BadSnapshot: It is truncated, altered, or of another schema.
    """
    line, newline, payload = content.partition(b"\n")
    if not newline or len(line) > MAX_HEADER_BYTES:
        raise BadSnapshot("it has no header")
    header = _header(line)
    _check_payload(header, payload)
    snapshot = _snapshot(payload)
    group = header.get("group")
    if header.get("revision") != snapshot.revision or not isinstance(group, str):
        raise BadSnapshot("its header belongs to another snapshot")
    return SavedSnapshot(snapshot, group)


def _header(line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError as error:
        raise BadSnapshot(f"its header is malformed: {error}") from error
    if not isinstance(header, dict):
        raise BadSnapshot("its header is no JSON object")
    return header


def _check_payload(header: dict[str, Any], payload: bytes) -> None:
    if header.get("schema") != SCHEMA:
        raise BadSnapshot(f"its schema is {header.get('schema')!r}; this agent reads {SCHEMA}")
    if header.get("bytes") != len(payload):
        raise BadSnapshot(f"it has {len(payload)} bytes of {header.get('bytes')!r}")
    checksum = hashlib.sha256(payload).hexdigest()
    if header.get("sha256") != checksum:
        raise BadSnapshot(f"its checksum is {checksum}, not {header.get('sha256')!r}")


def _snapshot(payload: bytes) -> Snapshot:
    try:
        message = discovery_pb2.DeltaDiscoveryResponse.FromString(payload)
        resources = (
            Resource(one.resource.type_url, one.name, one.version, one.resource.value)
            for one in message.resources
        )
        return Snapshot(int(message.system_version_info), resources)
    except (DecodeError, ValueError) as error:
        raise BadSnapshot(f"its content is malformed: {error}") from error
