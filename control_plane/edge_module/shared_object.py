"""Tells whether the bytes of a file are a whole shared object.

An ELF file says itself how long it is: its section headers, which linkers put last, have a place
and a number.
"""

from __future__ import annotations

import struct

_HEADER = struct.Struct("<4sBB10xHHIQQQIHHHHHH")
_CLASS_64, _LITTLE_ENDIAN = 2, 1


def why_broken(content: bytes) -> str:
    """Return why the content is no whole shared object; empty if it is one."""
    if len(content) < _HEADER.size:
        return f"is no shared object: it has {len(content)} bytes"
    magic, width, order, _, _, *rest = _HEADER.unpack_from(content)
    if (magic, width, order) != (b"\x7fELF", _CLASS_64, _LITTLE_ENDIAN):
        return "is no shared object for Linux"
    sections_at, entry_size, count = rest[3], rest[8], rest[9]
    if sections_at + entry_size * count > len(content):
        return f"is cut off after {len(content)} bytes: copy or build it again"
    return ""


def machine_of(content: bytes) -> int:
    """Return the processor that a whole shared object is for, by its number in ELF."""
    machine: int = _HEADER.unpack_from(content)[4]
    return machine
