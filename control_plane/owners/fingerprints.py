"""Fingerprints of claims: what edges hold in the place of names.

A fingerprint is the SipHash-1-3 of ``bucket NUL normalised value`` under a key that the deployment
keeps secret, so that nobody can choose names that collide. The stream carries all of its 64 bits.
An edge keeps the lower 48 (`low_bits`) and finds their place by the others, so two names whose
lower 48 bits are equal are one name to an edge: such a collision is found by the control plane,
which knows all names (`collisions`).
"""

from __future__ import annotations

from siphash24 import siphash13

LOW_BITS = 48
_LOW = (1 << LOW_BITS) - 1
_ALL = (1 << 64) - 1


def fingerprint(key: bytes, bucket: str, value: str) -> int:
    """Return the 64 bits of a claim's fingerprint.

    Args:
        key: The 16 bytes of the deployment's key.
        bucket: The claim's bucket.
        value: Its normalised value.
    """
    return _hash(f"{bucket}\0{value}".encode(), key)


def key_id(key: bytes) -> int:
    """Return a number by which two parties tell whether they have the same key."""
    return _hash(b"cellway key id", key)


def _hash(data: bytes, key: bytes) -> int:
    signed: int = siphash13(data, key=key).intdigest()
    return signed & _ALL


def low_bits(fingerprint: int) -> int:
    """Return what an edge keeps of a fingerprint; never 0, which marks an empty place there."""
    return fingerprint & _LOW or 1
