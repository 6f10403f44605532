"""Tokens whose length and checksum are right, and whose inside is whatever a stranger may write."""

from __future__ import annotations

import base64
import json
import random
import zlib

from control_plane.routing.tokens import to_base36

_LINES = (
    "c:1", "c:2", "o:9", "c:a", "o:16", "g:5", "p:zzzzzzzzzzzzz", "u:00000000000001", "t:0", "c:3w5e11264sgsf", "c:Z",
    "x:1", "c:", ":1", "c", "", "c:1:1", "c 1", "C:1", "c:-1", "c:1\r", "cg:1", "o:1 ", "c:\xe9", "c:0", "u:ZZ",
)  # fmt: skip
_KEYS = ("c", "o", "u", "p", "iss", "x", "a", "c ", "")
_VALUES = (
    '"1"', '"zzzzzzzzzzzzz"', '"9"', '"a"', '""', "1", "-1", "-0", "01", "1.5", "1e3", "12345678901234567890", "123456789012345678901",
    "true", "false", "null", "NaN", "Infinity", "[]", "{}", "[1, 2]", '[{"a": [1]}, "}"]', '{"c": "2"}', '"\\u0031"',
    '"\\n"', '"é"', '"a b"', "nul", '"1', "1.", ".5", "[1,]", "[" * 40 + "]" * 40, '"\x7f"', "+1", "'1'",
)  # fmt: skip
_BLANKS = ("", "", "", " ", "\n", "\t", "\r\n", "\x0b", "\x00")


def whole_token(prefix: str, payload: str, middle: str = "") -> str:
    """Return a token around a payload, with its length and checksum."""
    body = f"{prefix}{payload}{middle}.{to_base36(len(payload), 2)}"
    return body + to_base36(zlib.crc32(body.encode()), 7)


def base64url(raw: bytes) -> str:
    """Return bytes in base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def odd_token(choose: random.Random) -> str:
    """Return a token with any routing text, layout and length."""
    count = choose.choice((1, 1, 2, 2, 3, 10, 11))
    text = "\n".join(choose.choices(_LINES, k=count)).encode("latin-1")
    length = bytes([(len(text) + choose.choice((0, 0, 0, 0, 1, -1, 255))) % 256])
    noise = choose.randbytes(choose.choice((16, 16, 16, 16, 15, 17, 0)))
    raw = choose.choice(
        (noise + text + length, noise + text + length, text + noise + length, text + noise)
    )
    payload = base64url(raw)
    if choose.random() < 0.1:
        payload = base64.b64encode(raw).decode()
    prefix = choose.choice(("", "glpat-", "a:", "x" * 64, "x" * 65, "a.b-"))
    return whole_token(prefix, payload, choose.choice((".01", ".01", "", ".02", ".0", "=")))


def odd_json(choose: random.Random) -> str:
    """Return something like a JSON object."""
    if choose.random() < 0.05:
        return choose.choice(
            ("", "[]", "1", '"c"', "null", "{", "{}", "{,}", "\ufeff{}", '{"c":"1"}x')
        )
    members = [
        f"{_blank(choose)}{json.dumps(choose.choice(_KEYS))}{_blank(choose)}:{_blank(choose)}{choose.choice(_VALUES)}"
        for _ in range(choose.randint(1, 4))
    ]
    return f"{_blank(choose)}{{{','.join(members)}{_blank(choose)}}}{_blank(choose)}"


def _blank(choose: random.Random) -> str:
    return choose.choice(_BLANKS) if choose.random() < 0.3 else ""
