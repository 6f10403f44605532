"""Fingerprints are those of the module: SipHash-1-3 of bucket, NUL and value."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.owners.fingerprints import fingerprint, key_id, low_bits

KEY = bytes(range(16))
_MASK = (1 << 64) - 1


def siphash13(key: bytes, data: bytes) -> int:
    """SipHash-1-3 as its paper has it."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    ]

    def turn(x: int, by: int) -> int:
        return (x << by | x >> 64 - by) & _MASK

    def rounds(number: int) -> None:
        for _ in range(number):
            v[0] = v[0] + v[1] & _MASK
            v[1] = turn(v[1], 13) ^ v[0]
            v[0] = turn(v[0], 32)
            v[2] = v[2] + v[3] & _MASK
            v[3] = turn(v[3], 16) ^ v[2]
            v[0] = v[0] + v[3] & _MASK
            v[3] = turn(v[3], 21) ^ v[0]
            v[2] = v[2] + v[1] & _MASK
            v[1] = turn(v[1], 17) ^ v[2]
            v[2] = turn(v[2], 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        rounds(1)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(3)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


@settings(deadline=None, max_examples=30)
@given(st.binary(min_size=16, max_size=16), st.text(max_size=9), st.text(max_size=40))
def test_a_fingerprint_is_the_keyed_hash_of_bucket_and_value(
    key: bytes, bucket: str, value: str
) -> None:
    data = bucket.encode() + b"\0" + value.encode()
    assert fingerprint(key, bucket, value) == siphash13(key, data)
    assert key_id(key) == siphash13(key, b"cellway key id")


def test_a_known_name_has_its_known_fingerprint() -> None:
    """The module's tests have the same numbers."""
    assert fingerprint(KEY, "route", "gitlab-org") == 0x9169DE252AC485B5
    assert key_id(KEY) == 0x1C3C1E74459C0841
    assert low_bits(5 << 48) == 1
    assert low_bits(5 << 48 | 7) == 7
