"""Decodes what GitLab hides in tokens: routable token payloads, JWT payloads, Basic credentials.

Nothing here raises: input comes from strangers, so a decoder answers with the values or with the
reason why there are none.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Mapping

RANDOM_BYTES = 16
MIN_PAYLOAD_CHARS = 27
MAX_PAYLOAD_CHARS = 300
MAX_PREFIX_CHARS = 64
"""GitLab allows 20 for an instance, and adds the kind of token: ``acme-glpat-``."""
MAX_ROUTING_BYTES = 159
MAX_ROUTING_PARTS = 10
MAX_TOKEN_CHARS = 8192
ROUTING_KEYS = frozenset("cgoput")
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_MAX_BASE36_DIGITS = 13  # 36**13 > 2**63: no id of a cell, group or project is longer
_TRAILER = re.compile(r"(?:\.01)?\.(?P<length>[0-9a-z]{2})(?P<crc>[0-9a-z]{7})\Z")
_TRAILER_CHARS = 13

Decoded = Mapping[str, str]


def to_base36(number: int, width: int = 0) -> str:
    """Return ``number`` in lower-case base 36, left-padded with zeros to ``width``."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _BASE36[digit] + digits
    return (digits or "0").rjust(width, "0")


def from_base36(text: str) -> int | None:
    """Return the number that base 36 ``text``, in any case, stands for; None if it is none."""
    if not text or len(text) > _MAX_BASE36_DIGITS or not (text.isascii() and text.isalnum()):
        return None
    return int(text, 36)


def _base64(text: str, *, standard: bool = False) -> bytes | None:
    body = text.rstrip("=")
    if standard:
        body = body.translate(str.maketrans("+/", "-_"))
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None


def _routing_lines(raw: bytes) -> dict[str, str] | str:
    if not 3 <= len(raw) <= MAX_ROUTING_BYTES:
        return "the routing text is not 3 to 159 bytes long"
    lines = raw.decode("latin-1").split("\n")
    if len(lines) > MAX_ROUTING_PARTS:
        return f"more than {MAX_ROUTING_PARTS} routing parts"
    values: dict[str, str] = {}
    for line in lines:
        key, colon, value = line.partition(":")
        number = from_base36(value)
        if not colon or key not in ROUTING_KEYS or number is None or key in values:
            return "the routing text is not lines of key:base36"
        values[key] = str(number)
    if "c" not in values and "o" not in values:
        return "the routing text names neither a cell nor an organization"
    return values


def decode_routable_payload(text: str) -> Decoded | str:
    """Decode a routable token's payload, or a whole token, whose length and CRC are then verified.

    A whole token may have a prefix of any characters, for example ``acme:`` or ``acme-glpat-``.

    The payload is base64url of 16 random bytes, routing text and one length byte; in the older
    layout the routing text comes first. For example, ``EL25d_AKXDUtqLnIQHEpkG86MQM.01.0r1ajj2i3``
    holds the routing text ``o:1``.

    Returns:
        Numbers in decimal by their keys (``c`` is the cell, ``o`` the organization), or the reason
        why there are none.
    """
    if len(text) > MAX_TOKEN_CHARS:
        return "the token is too long"
    if "." not in text:
        return _decode_payload(text)
    payload, reason = _verified_payload(text)
    return reason if payload is None else _decode_payload(payload)


def _verified_payload(token: str) -> tuple[str | None, str]:
    """Return the payload of a whole token, or None and what is wrong with it."""
    trailer = _TRAILER.search(token, max(0, len(token) - _TRAILER_CHARS))
    if trailer is None:
        return None, "not of the form payload.01.length+crc"
    # A prefix may consist of payload characters, so only the length tells where it ends.
    head = token[: trailer.start()]
    length = from_base36(trailer["length"]) or 0
    if not MIN_PAYLOAD_CHARS <= length <= min(len(head), MAX_PAYLOAD_CHARS):
        return None, "the length does not fit"
    if len(head) - length > MAX_PREFIX_CHARS:
        return None, "the prefix is too long"
    if to_base36(zlib.crc32(token[: trailer.start("crc")].encode()), 7) != trailer["crc"]:
        return None, "the checksum is wrong"
    return head[-length:], ""


def _decode_payload(payload: str) -> Decoded | str:
    raw = _base64(payload)
    if raw is None:
        return "not base64url"
    if len(raw) < RANDOM_BYTES + 4:
        return "the payload is too short"
    length = raw[-1]
    newer = _routing_lines(raw[RANDOM_BYTES:-1]) if len(raw) == RANDOM_BYTES + length + 1 else ""
    if isinstance(newer, dict):
        return newer
    older = _routing_lines(raw[: -1 - RANDOM_BYTES])
    if isinstance(older, dict):
        return older
    bare = _routing_lines(raw[:-RANDOM_BYTES])
    return bare if isinstance(bare, dict) else (newer or older)


def decode_routable_json(text: str) -> Decoded | str:
    """Decode a base64url JSON object (a JWT's payload part); routing keys come out decimal.

    Returns the members that are texts or numbers, or the reason why there are none.
    """
    if len(text) > MAX_TOKEN_CHARS:
        return "the token is too long"
    raw = _base64(text)
    if raw is None:
        return "not base64url"
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return "not JSON"
    if not isinstance(document, dict):
        return "not a JSON object"
    values: dict[str, str] = {}
    for key, value in document.items():
        if key in ROUTING_KEYS:
            number = from_base36(value) if isinstance(value, str) else None
            if number is None:
                return f"{key} is not a base36 string"
            values[key] = str(number)
        elif isinstance(value, str | int) and not isinstance(value, bool):
            values[key] = str(value)
    return values


def decode_base64_text(text: str) -> bytes | str:
    """Decode standard or urlsafe base64, with or without padding; or return why that fails."""
    if len(text) > MAX_TOKEN_CHARS:
        return "the text is too long"
    raw = _base64(text, standard=True)
    return "not base64" if raw is None else raw


def encode_routable_token(prefix: str, routing: Mapping[str, int], random: bytes) -> str:
    """Return a token in the newer layout, as GitLab makes them (for tests and the demo)."""
    text = "\n".join(f"{key}:{to_base36(routing[key])}" for key in sorted(routing)).encode()
    raw = random[:RANDOM_BYTES] + text + bytes([len(text)])
    payload = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    body = f"{prefix}{payload}.01.{to_base36(len(payload), 2)}"
    return body + to_base36(zlib.crc32(body.encode()), 7)
