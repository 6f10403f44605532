"""A base whose records are sorted by what edges keep of a fingerprint, so that it can be searched.

The control plane needs two things of a base: its frames, for readers, and whether some name in it
has the same lower 48 bits as a new one (`collisions`). Ten million names in a Python dictionary
would take a gigabyte. The frames themselves are enough if they are sorted: all but the last have
the same size, so a binary search finds a record by arithmetic, in a file that is mapped to memory.

A file of a base is a BEGIN frame and BASE frames, one after the other::

    BEGIN   key id, 12,345 names                  48 bytes
    BASE    the 5,000 records with lowest bits    32 + 60,000 bytes
    BASE    5,000                                 the same
    BASE    2,345, last                           32 + 28,140 bytes
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from mmap import mmap
from typing import Any, overload

from siphash24 import siphash13

from control_plane.owners.base import Base, base_frames
from control_plane.owners.fingerprints import key_id, low_bits
from control_plane.owners.frames import (
    ASK,
    BEGIN,
    HEADER_BYTES,
    LAST_OF_BASE,
    MAX_FRAME_BYTES,
    MAX_RECORDS,
    NOBODY,
    RECORD_BYTES,
    Frame,
    begin_body,
    decode,
    decode_first,
    encode,
)

_PARTS = 256
"""Records are sorted in so many parts, each of which has few of them."""
_ROTATE = 16
_HIGH = (1 << 64 - _ROTATE) - 1
_RECORD = struct.Struct("<QI")


class BaseSorter:
    """Takes all claims, in any order, and returns the file of their base.

    A fingerprint is kept with its upper 16 bits moved to the end, so that numbers sort by the lower
    48: 0xAAAA_000000000007 is kept as 0x000000000007_AAAA.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._parts = [(array("Q"), array("I")) for _ in range(_PARTS)]
        self.names = 0

    def add(self, rows: Sequence[Any]) -> None:
        """Add claims: bucket, normalised value and cell id of each."""
        key, parts = self._key, self._parts
        for bucket, value, cell_id in rows:
            whole = siphash13(f"{bucket}\0{value}".encode(), key=key).intdigest()
            rotated, cells = parts[whole >> 40 & 0xFF]
            rotated.append((whole & 0xFFFFFFFFFFFF) << 16 | whole >> 48 & 0xFFFF)
            cells.append(cell_id)
        self.names += len(rows)

    def file(self, table: int, revision: int) -> Iterator[bytes]:
        """Yield the frames of the base; the claims are forgotten meanwhile.

        Args:
            table: The lineage.
            revision: That the claims were read at.
        """
        body = begin_body(key_id(self._key), self.names)
        yield encode(Frame(BEGIN, revision, table, body=body))
        yield from base_frames(table, revision, self._bodies())

    def _bodies(self) -> Iterator[bytes]:
        records: list[tuple[int, int]] = []
        for part in range(_PARTS):
            rotated, cells = self._parts[part]
            records += _marked(sorted(zip(rotated, cells, strict=True)))
            self._parts[part] = (array("Q"), array("I"))
            whole = len(records) - len(records) % MAX_RECORDS
            for start in range(0, whole, MAX_RECORDS):
                yield _packed(records[start : start + MAX_RECORDS])
            del records[:whole]
        if records:
            yield _packed(records)


def _marked(pairs: list[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """Return sorted records as the stream has them; those of names that collide say `ASK`."""
    whole = [((one & 0xFFFF) << 48 | one >> _ROTATE, cell) for one, cell in pairs]
    collided = {
        low_bits(one[0])
        for before, one in pairwise(whole)
        if low_bits(before[0]) == low_bits(one[0])
    }
    if not collided:
        return whole
    cells = {one: ASK if low_bits(one) in collided else cell for one, cell in whole}
    return cells.items()


def _packed(records: list[tuple[int, int]]) -> bytes:
    return struct.pack("<" + "QI" * len(records), *chain.from_iterable(records))


class SortedFrames(Sequence[bytes]):
    """The BASE frames in the bytes of a file that `BaseSorter.file` made."""

    def __init__(self, data: bytes | mmap, start: int) -> None:
        """Read frames from a place in ``data`` on.

        Raises:
            ValueError: The bytes are not those of such frames.
        """
        self._data, self._start = data, start
        whole, rest = divmod(len(data) - start, MAX_FRAME_BYTES)
        records, odd = divmod(rest - HEADER_BYTES, RECORD_BYTES) if rest else (0, 0)
        if records < 0 or odd or not (whole or rest):
            raise ValueError(f"a base of {len(data) - start} bytes is not whole")
        self.names = whole * MAX_RECORDS + records
        self._frames = whole + bool(rest)

    def __len__(self) -> int:
        """Return how many frames there are."""
        return self._frames

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        """Return a frame, or several."""
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(self._frames))]
        if not 0 <= index < self._frames:
            raise IndexError(index)
        at = self._start + index * MAX_FRAME_BYTES
        return self._data[at : at + MAX_FRAME_BYTES]

    def find(self, low: int) -> list[tuple[int, int]]:
        """Return the records whose fingerprints have these lower bits."""
        first, end = 0, self.names
        while first < end:
            middle = (first + end) // 2
            if low_bits(self._record(middle)[0]) < low:
                first = middle + 1
            else:
                end = middle
        found: list[tuple[int, int]] = []
        while first < self.names and low_bits((record := self._record(first))[0]) == low:
            found.append(record)
            first += 1
        return found

    def owner_of(self, fingerprint: int) -> int:
        """Return the cell's id in the record of a fingerprint; `NOBODY` if there is none."""
        found = self.find(low_bits(fingerprint))
        return next((cell for whole, cell in found if whole == fingerprint), NOBODY)

    def _record(self, number: int) -> tuple[int, int]:
        frame, record = divmod(number, MAX_RECORDS)
        at = self._start + frame * MAX_FRAME_BYTES + HEADER_BYTES + record * RECORD_BYTES
        whole, cell_id = _RECORD.unpack_from(self._data, at)
        return whole, cell_id


def read_base(data: bytes | mmap) -> tuple[Base, SortedFrames]:
    """Return the base in the bytes of a file that `BaseSorter.file` made, and its frames.

    Raises:
        ValueError: The bytes are not those of such a file.
    """
    begin, start = decode_first(data[: HEADER_BYTES + RECORD_BYTES * 2])
    if begin.kind != BEGIN:
        raise ValueError("a base does not begin with its BEGIN frame")
    key, _ = begin.begun()
    frames = SortedFrames(data, start)
    if not decode(frames[len(frames) - 1]).flags & LAST_OF_BASE:
        raise ValueError("a base is not whole: its last frame is missing")
    return Base(begin.table, key, begin.revision, frames.names, frames), frames
