"""What the edge makes of a raw request: the table was read off a real Envoy 1.40."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.routing.admission.admit import HttpVersion, Refused, admit
from control_plane.routing.model import Request

FORWARDED = [
    (b"/a/..", b"/"),
    (b"/a/.", b"/a/"),
    (b"/..", b"/"),
    (b"//..//x", b"/x"),
    (b"/a//..//x", b"/a/x"),
    (b"/a\\..\\b", b"/b"),
    (b"/a/%2e%2e/b", b"/b"),
    (b"/a/%2e%2e%2fb", b"/a/..%2fb"),
    (b"/a/..;x/b", b"/b"),
    (b"/%2e%2e;/x", b"/..;/x"),
    (b"/a/.;x/y", b"/a/y"),
    (b"/...", b"/..."),
    (b"/%41%7e%2D", b"/A~-"),
    (b"/a%2fb%2F", b"/a%2fb%2F"),
    (b"/%zz%4", b"/%zz%4"),
    (b'/"<>^`{|}', b"/%22%3C%3E%5E%60%7B%7C%7D"),
    (b"/a?//b/../c", b"/a?//b/../c"),
    (b'/a?%41"', b'/a?%41"'),
    (b"http://h.example/a/../b", b"/b"),
    (b"http://h.example", b"/"),
]
REFUSED = [
    (b"/a#b", 400), (b"/a%00", 400), (b"/a b", 400), (b"/\xc3\xbc", 400), (b"/a?\x7f", 400),
    (b"https://h.example/x", 403), (b"ftp://h/x", 400), (b"x", 400), (b"/" + b"a" * 70000, 431),
]  # fmt: skip


@pytest.mark.parametrize(("target", "path"), FORWARDED)
def test_paths_are_normalised(target: bytes, path: bytes) -> None:
    admitted = admit("GET", target, b"h.example", [])
    assert isinstance(admitted, Request), admitted
    assert admitted.path == path


@pytest.mark.parametrize(("target", "status"), REFUSED)
def test_targets_are_refused(target: bytes, status: int) -> None:
    refused = admit("GET", target, b"h.example", [])
    assert isinstance(refused, Refused)
    assert refused.status == status


def test_internal_headers_never_come_through() -> None:
    headers = [("X-Cellway-Cell", b"evil"), ("x-cellway-anything", b"1"), ("a", b" b ")]
    admitted = admit("GET", b"/", b"h", headers)
    assert isinstance(admitted, Request)
    assert [pair for pair in admitted.headers if pair[0].startswith("x-cellway-")] == []
    assert ("a", b"b") in admitted.headers


def test_underscores_are_refused() -> None:
    assert isinstance(admit("GET", b"/", b"h", [("x_cellway_cell", b"1")]), Refused)


@given(
    st.sampled_from(list(HttpVersion)),
    st.binary(max_size=40).map(lambda raw: b"/" + raw),
    st.lists(st.tuples(st.sampled_from(["a", "cookie", "x-cellway-a"]), st.binary(max_size=9))),
)
def test_admitting_twice_is_admitting_once(
    version: HttpVersion, target: bytes, headers: list[tuple[str, bytes]]
) -> None:
    once = admit("GET", target, b"h.example", headers, version=version)
    if isinstance(once, Refused):
        return
    assert admit("GET", once.path, once.authority, once.headers, version=version) == once
