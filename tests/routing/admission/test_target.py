"""Request targets and authorities as the codecs read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.routing.admission.refusal import EdgeRefusal
from control_plane.routing.admission.target import (
    Target,
    check_http1_authority,
    check_http1_line,
    check_http2_authority,
    check_routable,
    read_http1_target,
    read_http2_path,
)


@pytest.mark.parametrize(
    ("target", "read"),
    [
        (b"/a?b", Target(b"/a?b", None)),
        (b"http://h", Target(b"/", b"h")),
        (b"HTTP://h:80/a", Target(b"/a", b"h:80")),
        (b"http://u:p@h/a", Target(b"/a", b"h")),
        (b"http://[::1]:00080/", Target(b"/", b"[::1]:00080")),
        (b"http://h?x", Target(b"?x", b"h")),
    ],
)
def test_a_target_names_a_path_and_perhaps_an_authority(target: bytes, read: Target) -> None:
    check_http1_line("GET", target)
    assert read_http1_target("GET", target, tls=False) == read


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", b"http://h:65536/", 400),
        ("GET", b"http://h:x/", 400),
        ("GET", b"gopher://h/", 400),
        ("GET", b"https://h/", 403),
        ("CONNECT", b"h:443", 404),
        ("CONNECT", b"h", 400),
        ("GET", b"*", 400),
    ],
)
def test_targets_that_the_edge_does_not_serve(method: str, target: bytes, status: int) -> None:
    with pytest.raises(EdgeRefusal) as caught:
        read_http1_target(method, target, tls=False)
    assert caught.value.status == status


def test_over_tls_https_is_served_and_options_may_ask_of_the_whole_server() -> None:
    assert read_http1_target("GET", b"https://h/", tls=True) == Target(b"/", b"h")
    assert read_http1_target("OPTIONS", b"*", tls=False) == Target(b"*", None)
    with pytest.raises(EdgeRefusal) as caught:
        check_routable(b"*")
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("method", "path"), [("GET", b""), ("GET", b"a"), ("GET", b"*"), ("CONNECT", b"/"), ("G T", b"/")]
)  # fmt: skip
def test_paths_that_http2_does_not_allow(method: str, path: bytes) -> None:
    with pytest.raises(EdgeRefusal):
        read_http2_path(method, path)


@given(st.binary(max_size=12))
def test_an_authority_of_http2_is_one_of_http1(authority: bytes) -> None:
    try:
        check_http2_authority(authority)
    except EdgeRefusal:
        return
    check_http1_authority(authority)
    assert b"@" not in authority


@given(st.sampled_from(["GET", "CONNECT", "OPTIONS"]), st.binary(max_size=20))
def test_any_line_is_read_or_refused(method: str, target: bytes) -> None:
    try:
        check_http1_line(method, target)
        read = read_http1_target(method, target, tls=True)
    except EdgeRefusal as refusal:
        assert refusal.status in {400, 404}
        return
    assert read.path[:1] in {b"/", b"*", b"?"}
