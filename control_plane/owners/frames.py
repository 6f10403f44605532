"""The messages of the owners stream: raw frames of a gRPC call, read with every length checked.

A server sends a table of owners and then each change of it. A table is a *lineage*: a number that
stays while its revisions can be compared (a restored database begins another one). Example of a
stream, where a record is a fingerprint and the id of the cell that owns the name:

    BEGIN    table 77, revision 12, 3 names          a new table follows
    BASE     (h1, 4), (h2, 4), (h3, 9)  last         the table is complete up to revision 12
    CHANGES  revision 13: (h2, 9)                    complete up to 13
    BEAT     revision 13, age 40 ms                  13 was the newest revision 40 ms ago

All integers are little-endian. A server's frame is a header of 32 bytes and a body; the header's
last four bytes are the CRC-32 of its other bytes and the body. A client's message is 48 bytes and
the id of its node.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

FORMAT = 1
BEGIN, BASE, CHANGES, BEAT = 1, 2, 3, 4
"""Kinds of a server's frames."""
FOLLOW, STATUS = 1, 2
"""Kinds of a client's messages."""
LAST_OF_BASE = 1
"""Flag of a BASE frame: the table is whole."""
CUT_OFF = 2
"""Flag: the sender itself has no connection to a control plane."""
CONTROL_PLANE, AGENT_LIVE, AGENT_DISK = 1, 2, 3
"""Where a client's table comes from."""
NOBODY = 0
"""In the place of a cell's id: nobody owns the name any more."""
ASK = 0xFFFFFFFF
"""In the place of a cell's id: the fingerprint is that of several names."""
NEVER_MS = 0xFFFFFFFF
"""The lag of a table that was never known to be current: its reader has heard no beat yet."""
MAX_RECORDS = 5_000
"""Records of one frame."""
BEAT_MS = 250
"""How often a server says that its newest revision still is the newest."""
MAX_NODE_ID_BYTES = 256
HEADER_BYTES = 32
RECORD_BYTES = 12
MAX_FRAME_BYTES = HEADER_BYTES + MAX_RECORDS * RECORD_BYTES
CLIENT_HEADER_BYTES = 48
MAX_CLIENT_BYTES = CLIENT_HEADER_BYTES + MAX_NODE_ID_BYTES

_HEADER = struct.Struct("<BBHIQQI")
_CRC = struct.Struct("<I")
_BEGIN_BODY = struct.Struct("<QQ")
_RECORD = struct.Struct("<QI")
_CLIENT = struct.Struct("<BBHIQQQIIQ")
_REVISION_AT = 8


class BadFrame(ValueError):
    """Bytes are no frame of this stream; the text says why."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a server sends."""

    kind: int
    revision: int
    """BEGIN and BASE: when the base was read; else the table is complete up to and with it."""
    table: int
    """The lineage; never 0."""
    flags: int = 0
    count: int = 0
    """Records in the body."""
    age_ms: int = 0
    """BEAT: how long ago the sender last knew that there was no newer revision."""
    body: bytes = b""

    def records(self) -> Iterator[tuple[int, int]]:
        """Return fingerprint and cell id of each record of a BASE or CHANGES frame."""
        return _RECORD.iter_unpack(self.body)

    def begun(self) -> tuple[int, int]:
        """Return a BEGIN frame's key id, and how many names are expected."""
        key_id, names = _BEGIN_BODY.unpack(self.body)
        return key_id, names


def begin_body(key_id: int, names: int) -> bytes:
    """Return the body of a BEGIN frame."""
    return _BEGIN_BODY.pack(key_id, names)


def pack_records(records: Iterable[tuple[int, int]]) -> bytes:
    """Return the body of a BASE or CHANGES frame; each record is a fingerprint and a cell id."""
    pack = _RECORD.pack
    return b"".join([pack(h, cell) for h, cell in records])


def frame_of_records(kind: int, revision: int, table: int, body: bytes, flags: int = 0) -> Frame:
    """Return a BASE or CHANGES frame of packed records."""
    return Frame(kind, revision, table, flags, len(body) // RECORD_BYTES, 0, body)


def encode(frame: Frame) -> bytes:
    """Return a server's frame as bytes; `decode` accepts each of them.

    Raises:
        BadFrame: It is none that a reader would accept.
    """
    try:
        head = _HEADER.pack(
            frame.kind,
            FORMAT,
            frame.flags,
            frame.count,
            frame.revision,
            frame.table,
            frame.age_ms,
        )
    except struct.error as error:
        raise BadFrame(f"a number does not fit its field: {error}") from error
    _check(frame)
    return head + _CRC.pack(zlib.crc32(frame.body, zlib.crc32(head))) + frame.body


def decode(data: bytes) -> Frame:
    """Return the frame that ``data`` is.

    Raises:
        BadFrame: It is none: of a wrong length or checksum, or of an unknown kind or format.
    """
    frame, length = decode_first(data)
    if length != len(data):
        raise BadFrame(f"{len(data)} bytes came; a frame of this kind and count has {length}")
    return frame


def decode_first(data: bytes | memoryview, start: int = 0) -> tuple[Frame, int]:
    """Return the frame that begins at ``start``, and where it ends.

    Raises:
        BadFrame: There is none.
    """
    body_at = start + HEADER_BYTES
    end = start + length_of(data, start)
    if len(data) < end:
        raise BadFrame(f"a frame of {end - start} bytes was announced; {len(data) - start} came")
    kind, _, flags, count, revision, table, age_ms = _HEADER.unpack_from(data, start)
    body = bytes(data[body_at:end])
    (crc,) = _CRC.unpack_from(data, body_at - _CRC.size)
    head = data[start : body_at - _CRC.size]
    if zlib.crc32(body, zlib.crc32(head)) != crc:
        raise BadFrame("its checksum does not fit its content")
    frame = Frame(kind, revision, table, flags, count, age_ms, body)
    _check(frame)
    return frame, end


def length_of(data: bytes | memoryview, start: int = 0) -> int:
    """Return how long the frame is whose header begins at ``start``.

    Raises:
        BadFrame: There is no header of this format.
    """
    if len(data) < start + HEADER_BYTES:
        raise BadFrame(f"a frame has at least {HEADER_BYTES} bytes; {len(data) - start} came")
    kind, form, _, count, _, _, _ = _HEADER.unpack_from(data, start)
    if form != FORMAT:
        raise BadFrame(f"its format is {form}; this program reads {FORMAT}")
    return HEADER_BYTES + _body_bytes(kind, count)


def revision_of(data: bytes) -> int:
    """Return the revision of a frame that `encode` has made."""
    return int.from_bytes(data[_REVISION_AT : _REVISION_AT + 8], "little")


def with_revision(data: bytes, revision: int) -> bytes:
    """Return a frame that `encode` has made, with another revision."""
    return encode(replace(decode(data), revision=revision))


def _body_bytes(kind: int, count: int) -> int:
    """Return the length of a body, or raise `BadFrame` if no frame has this kind and count."""
    if kind in (BASE, CHANGES):
        if count > MAX_RECORDS:
            raise BadFrame(f"it has {count} records; at most {MAX_RECORDS} fit a frame")
        return count * RECORD_BYTES
    if kind not in (BEGIN, BEAT):
        raise BadFrame(f"its kind is {kind}; there are {BEGIN} to {BEAT}")
    if count:
        raise BadFrame(f"its kind has no records, and it has {count}")
    return _BEGIN_BODY.size if kind == BEGIN else 0


def _check(frame: Frame) -> None:
    """Raise `BadFrame` if the parts of a frame don't fit each other."""
    if len(frame.body) != _body_bytes(frame.kind, frame.count):
        raise BadFrame(f"its body has {len(frame.body)} bytes, which its count does not explain")
    if not frame.table:
        raise BadFrame("it names no table")


@dataclass(frozen=True, slots=True)
class ClientMessage:
    """What a client sends: FOLLOW first, then STATUS."""

    kind: int
    revision: int = 0
    """Up to which the client's table is complete; 0: it has none."""
    table: int = 0
    """The lineage of the client's table; 0: it has none."""
    source: int = 0
    """STATUS: where the table comes from."""
    names: int = 0
    lag_ms: int = 0
    """How long ago the client's revision was known to be the newest."""
    key_id: int = 0
    """FOLLOW: of the client's key; 0: it has none, as an agent without a table."""
    node_id: str = ""


def encode_client(message: ClientMessage) -> bytes:
    """Return a client's message as bytes; `decode_client` accepts each of them.

    Raises:
        BadFrame: It is none that a server would accept.
    """
    try:
        head = _CLIENT.pack(
            message.kind,
            FORMAT,
            0,
            message.source,
            message.revision,
            message.table,
            message.names,
            message.lag_ms,
            0,
            message.key_id,
        )
        data = head + message.node_id.encode()
    except (struct.error, UnicodeEncodeError) as error:
        raise BadFrame(f"a field can't be written: {error}") from error
    decode_client(data)
    return data


def decode_client(data: bytes) -> ClientMessage:
    """Return the client's message that ``data`` is. Flags and the unused field are ignored.

    Raises:
        BadFrame: It is none: of a wrong length, or of an unknown kind, format or source.
    """
    if not CLIENT_HEADER_BYTES <= len(data) <= MAX_CLIENT_BYTES:
        text = f"has {CLIENT_HEADER_BYTES} to {MAX_CLIENT_BYTES} bytes; {len(data)} came"
        raise BadFrame(f"a client's message {text}")
    kind, form, _, source, revision, table, names, lag_ms, _, key_id = _CLIENT.unpack_from(data)
    if form != FORMAT:
        raise BadFrame(f"its format is {form}; this program reads {FORMAT}")
    if kind not in (FOLLOW, STATUS):
        raise BadFrame(f"its kind is {kind}; there are FOLLOW ({FOLLOW}) and STATUS ({STATUS})")
    if kind == STATUS and source not in (CONTROL_PLANE, AGENT_LIVE, AGENT_DISK):
        raise BadFrame(f"its source is {source}; there are {CONTROL_PLANE} to {AGENT_DISK}")
    try:
        node_id = data[CLIENT_HEADER_BYTES:].decode()
    except UnicodeDecodeError as error:
        raise BadFrame("its node id is no UTF-8") from error
    return ClientMessage(kind, revision, table, source, names, lag_ms, key_id, node_id)
