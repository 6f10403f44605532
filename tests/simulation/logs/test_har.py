"""HAR: a browser's recording, read an entry at a time."""

from __future__ import annotations

import io
import json
from typing import Any
from unittest.mock import patch

import pytest

from control_plane.simulation.logs import har
from control_plane.simulation.logs.recorded import Recorded, Unreadable
from tests.simulation.rules import TENANT_HEADER, aspects_of

SESSION = {"type": "cookie", "name": "^s$", "regexValue": "."}


def entry(url: str, headers: tuple[tuple[str, str], ...] = (), **more: Any) -> dict[str, Any]:
    pairs = [{"name": name, "value": value} for name, value in headers]
    return {"request": {"method": "GET", "url": url, "headers": pairs}, **more}


def document(*entries: dict[str, Any]) -> bytes:
    pages = [{"title": 'a page about \\"entries\\": [1]'}]
    log = {"version": "1.2", "pages": pages, "entries": list(entries)}
    return json.dumps({"log": log}, ensure_ascii=False, indent=1).encode()


def read(source: bytes) -> list[Recorded]:
    reader = har.Har(aspects_of(TENANT_HEADER, SESSION), "default.example")
    return [reader.read(one) for one in har.entries(io.BufferedReader(io.BytesIO(source)))]


def test_every_entry_is_read_whatever_the_pieces_cut() -> None:
    body = {"response": {"content": {"text": "ä€😀" * 300}}}
    urls = [f"https://h.example/ä{number}?q=1#f" for number in range(40)]
    source = document(*(entry(url, (("X-Tenant", "t"),), **body) for url in urls))
    expected = [
        Recorded("GET", f"/ä{number}".encode(), b"h.example", (("x-tenant", b"t"),))
        for number in range(40)
    ]
    for piece in (1, 61, 1 << 20):
        with patch.object(har, "PIECE_BYTES", piece):
            assert read(source) == expected


def test_pseudo_headers_are_none_and_cookies_are_joined() -> None:
    headers = ((":authority", "x"), ("cookie", "s=1"), ("Cookie", "t=2; s=3"))
    assert read(document(entry("http://h/", headers)))[0].headers == (("cookie", b"s=1;  s=3"),)


def test_a_har_may_be_empty() -> None:
    assert read(document()) == []


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (b'{"log": {"pages": []}}', "no entries"),
        (document(entry("http://h/"))[:-30], "ends within an entry"),
        (b'{"log": {"entries": [{"request": nonsense}]}}', "no JSON"),
        (b'{"log": {"entries": [{}]}}', "not readable"),
        (document(entry("ftp://h/")), "no URL"),
        (b'{"log": {"entries": [{"request": {"method": "GET", "url": "/", "headers": 7}}]}}', "no"),
    ],
)
def test_what_is_no_har_is_told(source: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read(source)


def test_an_entry_without_an_end_is_read_within_bounds() -> None:
    source = b'{"log": {"entries": ["' + b"x" * 5000
    with (
        patch.object(har, "MAX_ENTRY_CHARS", 1000),
        patch.object(har, "PIECE_BYTES", 100),
        pytest.raises(Unreadable, match="more than 1000 characters"),
    ):
        read(source)


def test_a_har_is_told_by_its_beginning() -> None:
    assert har.is_har(document())
    assert not har.is_har(b'{"method": "GET", "log": {}}')
