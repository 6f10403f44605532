"""All owners as of one revision, as the frames that every new reader is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from control_plane.owners.frames import (
    BASE,
    BEGIN,
    LAST_OF_BASE,
    MAX_RECORDS,
    Frame,
    begin_body,
    encode,
    frame_of_records,
    pack_records,
)


@dataclass(frozen=True, slots=True)
class Base:
    """All owners as of one revision."""

    table: int
    key_id: int
    revision: int
    names: int
    """How many records the frames have."""
    frames: Sequence[bytes]
    """BASE frames, of which the last is flagged; at least one."""

    def begin(self) -> bytes:
        """Return the BEGIN frame."""
        return begin_frame(self.table, self.key_id, self.revision, self.names)


def begin_frame(table: int, key_id: int, revision: int, names: int) -> bytes:
    """Return the BEGIN frame of a base."""
    return encode(Frame(BEGIN, revision, table, body=begin_body(key_id, names)))


def base_frames(table: int, revision: int, bodies: Iterable[bytes]) -> Iterator[bytes]:
    """Return the BASE frames of packed records.

    Args:
        table: The lineage.
        revision: That the records were read at.
        bodies: See `frames.pack_records`; at most `MAX_RECORDS` each. None: no names.
    """
    before: bytes | None = None
    for body in bodies:
        if before is not None:
            yield encode(frame_of_records(BASE, revision, table, before))
        before = body
    yield encode(frame_of_records(BASE, revision, table, before or b"", LAST_OF_BASE))


def in_bodies(records: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """Return packed records, `MAX_RECORDS` at a time."""
    for start in range(0, len(records), MAX_RECORDS):
        yield pack_records(records[start : start + MAX_RECORDS])
