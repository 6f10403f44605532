"""Requests from text."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.routing.model import Request, join_values


@pytest.mark.parametrize(
    ("headers", "authority"),
    [
        ({}, b"localhost"),
        ({"Host": "a.test"}, b"a.test"),
        ([("host", "a"), ("HOST", "b")], b"a,b"),
        ([("host", "a"), ("host", "")], b"a"),
        ([("host", "a"), (":authority", "b")], b"b"),
    ],
)
def test_hosts_become_the_authority(headers: Any, authority: bytes) -> None:
    request = Request.of("/", headers)
    assert (request.authority, request.headers) == (authority, ())


def test_names_are_in_lower_case_and_texts_bytes() -> None:
    request = Request.of("/ü", {"X-A": "ü", "X-B": "\udcff"}, method="PUT")
    assert request.path == "/ü".encode()
    assert request.headers == (("x-a", "ü".encode()), ("x-b", b"\xff"))
    assert request.method == "PUT"
    assert Request.of(b"/\xff").path == b"/\xff"


def test_empty_values_leave_no_trace_in_a_joined_header() -> None:
    assert join_values([b"a", b"", b"b"]) == b"a,b"
    assert join_values([b""]) == b""
