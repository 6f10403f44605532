"""Writes numbers and texts of a program, little-endian, as `envoy/module/program_load.c` reads."""

from __future__ import annotations

from collections.abc import Iterable

NONE = 0xFFFF
"""In the place of an index."""
NO_SLOT = 0xFF


def u8(*numbers: int) -> bytes:
    """Return each number as one byte."""
    return bytes(numbers)


def u16(*numbers: int) -> bytes:
    """Return each number as two bytes."""
    return b"".join(number.to_bytes(2, "little") for number in numbers)


def u32(number: int) -> bytes:
    """Return a number as four bytes."""
    return number.to_bytes(4, "little")


def text(value: str) -> bytes:
    """Return a text of at most 65,535 bytes after its length."""
    encoded = value.encode()
    return u16(len(encoded)) + encoded


def listed(entries: Iterable[bytes], width: int = 2) -> bytes:
    """Return entries after their number, which takes ``width`` bytes."""
    made = tuple(entries)
    return len(made).to_bytes(width, "little") + b"".join(made)
