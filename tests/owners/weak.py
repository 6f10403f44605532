"""Fingerprints of few bits, so that names collide often, and readers who are easily confused."""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

import pytest

from control_plane.owners import collisions, sorted_base
from control_plane.owners.frames import ASK
from control_plane.topology.values import KeyPair

LOW = 4
"""Bits by which two names are one name to an edge."""


def weak_hash(_key: bytes, bucket: str, value: str) -> int:
    """Return a fingerprint of 2 upper and 4 lower bits."""
    number = crc32(f"{bucket}\0{value}".encode())
    return (number & 3) << 48 | (number >> 8 & (1 << LOW) - 1)


class _Weak:
    """What `siphash13` returns."""

    def __init__(self, data: bytes, *, key: bytes) -> None:
        bucket, value = data.decode().split("\0")
        self._whole = weak_hash(key, bucket, value)

    def intdigest(self) -> int:
        return self._whole


def weaken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all of the room use weak fingerprints."""
    monkeypatch.setattr(sorted_base, "siphash13", _Weak)
    monkeypatch.setattr("control_plane.owners.source.feed.fingerprint", weak_hash)


def check_table(table: Mapping[int, int], claims: Mapping[KeyPair, int]) -> int:
    """Check a reader's table against all claims; return how many names it would ask about.

    An edge compares lower bits only, in the worst case.
    """
    by_low: dict[int, set[int]] = {}
    for whole, cell in table.items():
        by_low.setdefault(collisions.low_bits(whole), set()).add(cell)
    names: dict[int, list[KeyPair]] = {}
    for key in claims:
        names.setdefault(collisions.low_bits(weak_hash(b"", *key)), []).append(key)
    asked = 0
    for low, keys in names.items():
        cells = by_low[low]
        if len(keys) > 1:
            assert cells == {ASK}, (low, keys)
            asked += len(keys)
        else:
            # A name that has collided may leave something to be asked about behind.
            assert cells <= {claims[keys[0]], ASK}
            assert table[weak_hash(b"", *keys[0])] in cells
    for low in by_low.keys() - names.keys():
        assert by_low[low] == {ASK}, "nobody owns it, so it is gone, or is asked about"
    return asked
