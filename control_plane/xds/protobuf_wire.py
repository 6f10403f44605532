"""Protobuf's wire format, as far as xDS messages are put together from bytes that exist already.

A response to a thousand nodes is a few small fields around resources that were serialised once, so
the fields are written by hand here and the resources are never parsed again
(protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

_LENGTH_DELIMITED = 2
"""The wire type of bytes, strings and messages."""


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def length_delimited(field: int, payload: bytes) -> bytes:
    """Return a bytes, string or message field.

    Args:
        field: The field's number in its message.
        payload: The content: bytes, UTF-8 text or a serialised message.
    """
    return _varint(field << 3 | _LENGTH_DELIMITED) + _varint(len(payload)) + payload


def string_map_entry(key: str, value: str) -> bytes:
    """Return an entry of a ``map<string, string>``, as every protobuf library writes it."""
    return length_delimited(1, key.encode()) + length_delimited(2, value.encode())
