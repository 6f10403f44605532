"""The one page in which a server says where its table of owners lies, and how far it has come.

The classifier's processes need the same table as edges. Each could follow the stream, and would
then hold all owners itself. Instead the server, which follows the topology anyway, writes the table
into files, and its processes map them. What is the newest changes often, so it stands in a page of
shared memory, which a process compares with what it saw last::

    owners.state    generation 3, revision 120, 7,340 bytes of changes, …
    owners.3.base   BEGIN BASE …      all owners as of revision 112, sorted
    owners.3.log    CHANGES …         what has changed since

A next base begins the next generation. The page is written while others read it, so it ends with a
checksum: who sees half of the old and half of the new text reads it again.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from control_plane.owners.stored_frames import OpenFile

STATE_FILE = "owners.state"
_PAGE_BYTES = 4096
_STATE = struct.Struct("<QQQdQ16s")
_CRC = struct.Struct("<I")
STATE_BYTES = _STATE.size + _CRC.size


@dataclass(frozen=True, slots=True)
class State:
    """What the page says."""

    generation: int = 0
    """Which files hold the table; 0: there is none."""
    revision: int = 0
    """The table is complete up to and with this one."""
    edge_revision: int = 0
    """The last change to a cell or the active ruleset, of a moment not before ``revision``."""
    known_at: float = 0.0
    """When no newer revision was committed, in seconds of the clock that all processes share."""
    log_bytes: int = 0
    """How much of the file of changes counts."""
    key: bytes = field(default=bytes(16), repr=False)
    """The secret key of the fingerprints."""


def base_file(directory: Path, generation: int) -> Path:
    """Return where a generation's base is."""
    return directory / f"owners.{generation}.base"


def log_file(directory: Path, generation: int) -> Path:
    """Return where a generation's changes are."""
    return directory / f"owners.{generation}.log"


def encode_state(state: State) -> bytes:
    """Return the bytes of the page."""
    body = _STATE.pack(
        state.generation,
        state.revision,
        state.edge_revision,
        state.known_at,
        state.log_bytes,
        state.key,
    )
    return body + _CRC.pack(zlib.crc32(body))


def decode_state(data: bytes) -> State | None:
    """Return what the page says; None if it was being written."""
    if _CRC.unpack_from(data, _STATE.size)[0] != zlib.crc32(data[: _STATE.size]):
        return None
    return State(*_STATE.unpack_from(data))


def create_page(directory: Path) -> mmap.mmap:
    """Return the page of a directory that has none; it says that there is no table.

    Raises:
        OSError: It can't be written.
    """
    file = OpenFile(directory / STATE_FILE, os.O_RDWR | os.O_CREAT)
    # Written and not only made long, so that the disk has room for it.
    file.write(encode_state(State()).ljust(_PAGE_BYTES, b"\0"), 0)
    return mmap.mmap(file.descriptor, _PAGE_BYTES)


def open_page(directory: Path) -> mmap.mmap | None:
    """Return the page of a directory, to be read; None if it has none."""
    try:
        with (directory / STATE_FILE).open("rb") as file:
            return mmap.mmap(file.fileno(), _PAGE_BYTES, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return None
