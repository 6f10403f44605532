"""Paths as Envoy forwards them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from control_plane.routing.admission.path import UNRESERVED, normalise_path
from control_plane.routing.admission.refusal import EdgeRefusal
from tests.routing.admission.paths import HIDDEN_DOT_SEGMENT, paths


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/", b"/"),
        (b"/gitlab-org/gitlab/-/issues?scope=all", b"/gitlab-org/gitlab/-/issues?scope=all"),
        (b"//a///b//", b"/a/b/"),
        (b"//", b"//"),
        (b"/a/../b/./c/..", b"/b/"),
        (b"/../..", b"/"),
        (b"/a/%2e%2E/b", b"/b"),
        (b"/a//../b", b"/a/b"),
        (b"/a\\..\\b", b"/b"),
        (b"/a%2Fb%2fc", b"/a%2Fb%2fc"),
        (b"/a%5Cb", b"/a%5Cb"),
        (b"/%41%7e%2D", b"/A~-"),
        (b"/%252e%252e/a", b"/%252e%252e/a"),
        (b"/%%34%31", b"/%2541"),
        (b"/%2%65%2%65/a", b"/%252e%252e/a"),
        (b"/%c3%a9%C0%AF", b"/%c3%a9%C0%AF"),
        (b"/\xc3\xa9", b"/%C3%A9"),
        (b'/"<>^`{|}', b"/%22%3C%3E%5E%60%7B%7C%7D"),
        (b"/a;p/..;q/b;r", b"/b;r"),
        (b"/a/%2e%2e;q/b", b"/a/..;q/b"),
        (b"/%/%zz/%4", b"/%/%zz/%4"),
        (b"/a?//../%41|\\", b"/a?//../%41|\\"),
    ],
)
def test_path(path: bytes, expected: bytes) -> None:
    assert normalise_path(path) == expected


@pytest.mark.parametrize("path", [b"/a#b", b"/a?b#c", b"/%00", b"/a%00/../b"])
def test_refused_path(path: bytes) -> None:
    with pytest.raises(EdgeRefusal) as refusal:
        normalise_path(path)
    assert refusal.value.status == 400


@settings(max_examples=400)
@given(paths)
def test_normalised_paths_are_normal(path: bytes) -> None:
    try:
        normal = normalise_path(path)
    except EdgeRefusal:
        return
    before_query = normal.partition(b"?")[0]
    assert before_query == b"//" or b"//" not in before_query
    assert not {b".", b".."} & set(before_query.split(b"/"))
    assert b"%2e" not in before_query.lower()
    assert b"\\" not in before_query
    if not HIDDEN_DOT_SEGMENT.search(before_query):
        assert normalise_path(normal) == normal


def test_exactly_the_unreserved_characters_are_decoded() -> None:
    for code in range(1, 256):
        expected = bytes([code]) if code in UNRESERVED else b"%%%02X" % code
        assert normalise_path(b"/x%%%02Xy" % code) == b"/x" + expected + b"y"
