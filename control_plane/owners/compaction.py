"""A new base from an older one and the changes since, frame by frame.

Most frames of a base hold no name that has changed: they only get the new revision. Measured: ten
million names with 10,000 changes take about 2 s of one core.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache

from control_plane.owners.base import base_frames, in_bodies
from control_plane.owners.frames import MAX_RECORDS, NOBODY, RECORD_BYTES, decode, pack_records


def latest(frames: Iterable[bytes]) -> dict[int, int]:
    """Return the newest owner of each fingerprint in CHANGES frames."""
    changes: dict[int, int] = {}
    for data in frames:
        changes.update(decode(data).records())
    return changes


def merged(
    table: int, revision: int, frames: Iterable[bytes], changes: dict[int, int]
) -> Iterator[bytes]:
    """Return the BASE frames of a new base.

    Args:
        table: The lineage.
        revision: Of the last change.
        frames: Of the older base.
        changes: What has changed since; see `latest`.
    """
    return base_frames(table, revision, _joined(_bodies(frames, changes)))


def _joined(bodies: Iterable[bytes]) -> Iterator[bytes]:
    """Join small bodies, so that a base does not fall apart over the years."""
    before = b""
    for body in bodies:
        if len(before) + len(body) <= MAX_RECORDS * RECORD_BYTES:
            before += body
            continue
        yield before
        before = body
    if before:
        yield before


def _bodies(frames: Iterable[bytes], changes: dict[int, int]) -> Iterator[bytes]:
    seen: set[int] = set()
    for data in frames:
        frame = decode(data)
        fingerprints = _fingerprints(frame.count).unpack(frame.body)
        if changes.keys().isdisjoint(fingerprints):
            body = frame.body
        else:
            seen.update(changes.keys() & set(fingerprints))
            now = [(h, changes.get(h, cell)) for h, cell in frame.records()]
            body = pack_records([record for record in now if record[1] != NOBODY])
        yield body
    new = [(h, cell) for h, cell in changes.items() if h not in seen and cell != NOBODY]
    yield from in_bodies(new)


@lru_cache(maxsize=4)
def _fingerprints(count: int) -> struct.Struct:
    """Return the layout of so many records that reads fingerprints and passes over cells."""
    return struct.Struct("<" + "Q4x" * count)
