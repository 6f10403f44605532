"""Frames of the owners' stream, written down a second time: the module is held to the format."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

BEGIN, BASE, CHANGES, BEAT = 1, 2, 3, 4
LAST, CUT_OFF = 1, 2
ASK_CELL = 0xFFFFFFFF
Record = tuple[int, int]


def frame(
    kind: int,
    revision: int,
    table: int,
    *,
    body: bytes = b"",
    count: int = 0,
    flags: int = 0,
    age_ms: int = 0,
    form: int = 1,
) -> bytes:
    head = struct.pack("<BBHIQQI", kind, form, flags, count, revision, table, age_ms)
    return head + struct.pack("<I", zlib.crc32(body, zlib.crc32(head))) + body


def begin(revision: int, table: int, key_id: int, names: int = 0) -> bytes:
    return frame(BEGIN, revision, table, body=struct.pack("<QQ", key_id, names))


def records(
    kind: int, revision: int, table: int, owners: Iterable[Record], flags: int = 0
) -> bytes:
    body = b"".join(struct.pack("<QI", h, cell) for h, cell in owners)
    return frame(kind, revision, table, body=body, count=len(body) // 12, flags=flags)


def base(revision: int, table: int, owners: Iterable[Record], flags: int = LAST) -> bytes:
    return records(BASE, revision, table, owners, flags)


def changes(revision: int, table: int, owners: Iterable[Record] = ()) -> bytes:
    return records(CHANGES, revision, table, owners)


def beat(revision: int, table: int, age_ms: int = 0, flags: int = 0) -> bytes:
    return frame(BEAT, revision, table, age_ms=age_ms, flags=flags)


def grpc(message: bytes) -> bytes:
    """Return the message with gRPC's header."""
    return struct.pack(">BI", 0, len(message)) + message


@dataclass(frozen=True)
class Said:
    """What a client has sent."""

    kind: int
    source: int
    revision: int
    table: int
    names: int
    lag_ms: int
    key_id: int
    node: str


def said(message: bytes) -> Said:
    kind, form, flags, source, revision, table, names, lag, zero, key_id = struct.unpack_from(
        "<BBHIQQQIIQ", message
    )
    assert (form, flags, zero) == (1, 0, 0)
    return Said(kind, source, revision, table, names, lag, key_id, message[48:].decode())
