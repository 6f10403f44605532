"""Saved snapshots and their files, for tests."""

from __future__ import annotations

import json

from control_plane.edge_agent.saved_snapshot import SavedSnapshot
from control_plane.names import CDS
from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import Snapshot


def saved(revision: int, *names: str, body: bytes = b"") -> SavedSnapshot:
    """A snapshot with these clusters; without any, with one that is named after the revision."""
    names = names or (f"cell:{revision}",)
    return SavedSnapshot(
        Snapshot(revision, [Resource.of(CDS, name, body) for name in names]), "edge"
    )


def with_header(content: bytes, **changed: object) -> bytes:
    """A file's content with some of its header changed."""
    line, _, payload = content.partition(b"\n")
    return json.dumps(json.loads(line) | changed).encode() + b"\n" + payload
