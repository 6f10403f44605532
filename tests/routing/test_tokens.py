"""Routable tokens and JWT payloads: what they decode to, and that nothing makes it raise."""

from __future__ import annotations

import base64
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.routing.tokens import (
    decode_base64_text,
    decode_routable_json,
    decode_routable_payload,
    encode_routable_token,
    from_base36,
    to_base36,
)

DOCUMENTED = "EL25d_AKXDUtqLnIQHEpkG86MQM.01.0r1ajj2i3"


def test_the_documented_example() -> None:
    assert decode_routable_payload(DOCUMENTED) == {"o": "1"}
    assert decode_routable_payload(DOCUMENTED.split(".", maxsplit=1)[0]) == {"o": "1"}


routing = st.dictionaries(st.sampled_from("gptu"), st.integers(0, 2**60)).flatmap(
    lambda rest: st.integers(0, 2**60).map(lambda cell: rest | {"c": cell})
)


prefixes = st.sampled_from(["", "glpat-", "glrtr-", "a_b-", "acme-glpat-"]) | st.from_regex(
    r"[a-zA-Z0-9_+=/@:.-]{0,20}[.:/=@+]", fullmatch=True
)
"""GitLab's, and what its settings allow an instance to put in front."""


@given(routing, st.binary(min_size=16, max_size=16), prefixes)
def test_what_is_encoded_is_decoded(values: dict[str, int], random: bytes, prefix: str) -> None:
    token = encode_routable_token(prefix, values, random)
    assert decode_routable_payload(token) == {key: str(value) for key, value in values.items()}


def test_the_older_layout() -> None:
    raw = b"c:2\nu:a" + bytes(range(200, 216)) + b"\x10"
    payload = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    body = f"glpat-{payload}.{to_base36(len(payload), 2)}"
    token = body + to_base36(zlib.crc32(body.encode()), 7)
    assert decode_routable_payload(token) == {"c": "2", "u": "10"}
    assert decode_routable_payload(payload) == {"c": "2", "u": "10"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (DOCUMENTED[:-1] + "4", "checksum"),
        (DOCUMENTED.replace(".0r", ".0z"), "length"),
        ("abc", "too short"),
        ("a" * 10000, "too long"),
        ("%%%", "base64url"),
        ("x.y", "form"),
        ("p" * 65 + DOCUMENTED, "prefix"),
        ("acme:" + DOCUMENTED, "checksum"),
        (DOCUMENTED + "\n", "form"),
    ],
)
def test_why_a_token_is_none(text: str, reason: str) -> None:
    answer = decode_routable_payload(text)
    assert isinstance(answer, str)
    assert reason in answer


@pytest.mark.parametrize(
    ("document", "decoded"),
    [
        (
            b'{"c": "a", "u": "1z", "sub": "x", "n": 3}',
            {"c": "10", "u": "71", "sub": "x", "n": "3"},
        ),
        (b'{"c": 5}', "c is not a base36 string"),
        (b'{"c": "!"}', "c is not a base36 string"),
        (b"[]", "not a JSON object"),
        (b"{", "not JSON"),
    ],
)
def test_json_payloads(document: bytes, decoded: object) -> None:
    text = base64.urlsafe_b64encode(document).decode().rstrip("=")
    assert decode_routable_json(text) == decoded


@given(st.text())
def test_nothing_makes_it_raise(text: str) -> None:
    for decode in (decode_routable_payload, decode_routable_json, decode_base64_text):
        decode(text)


@given(st.integers(0, 2**63))
def test_base36(number: int) -> None:
    assert from_base36(to_base36(number)) == number
