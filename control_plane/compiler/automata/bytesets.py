"""Sets of bytes as integers: bit ``n`` stands for byte ``n``."""

from __future__ import annotations

from collections.abc import Iterable

ALL = (1 << 256) - 1


def byteset(members: Iterable[int]) -> int:
    """Return the set of some bytes."""
    mask = 0
    for member in members:
        mask |= 1 << member
    return mask


def byterange(first: int, last: int) -> int:
    """Return the set of the bytes from ``first`` to ``last``."""
    return (1 << (last + 1)) - (1 << first)


UPPER = byterange(ord("A"), ord("Z"))
LOWER = byterange(ord("a"), ord("z"))
DIGITS = byterange(ord("0"), ord("9"))
WORD = UPPER | LOWER | DIGITS | 1 << ord("_")
SPACES = byteset(b"\t\n\f\r ")
"""RE2's ``\\s``. Python's has the vertical tab, too."""
NEWLINE = 1 << ord("\n")


def folded(mask: int) -> int:
    """Return a set with both cases of each of its letters."""
    return mask | (mask & UPPER) << 32 | (mask & LOWER) >> 32


def partition(sets: Iterable[int]) -> list[int]:
    """Return the coarsest classes of bytes of which each set is a union, by their first byte."""
    classes = [ALL]
    for one in set(sets):
        refined: list[int] = []
        for part in classes:
            inside = part & one
            if inside and inside != part:
                refined += inside, part ^ inside
            else:
                refined.append(part)
        classes = refined
    return sorted(classes, key=lambda part: part & -part)


def class_table(classes: Iterable[int]) -> bytes:
    """Return for each byte the index of its class."""
    table = bytearray(256)
    for index, members in enumerate(classes):
        while members:
            lowest = members & -members
            table[lowest.bit_length() - 1] = index
            members ^= lowest
    return bytes(table)
