"""The edge model by itself: what it says of known requests, and what holds for any request."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from control_plane.routing.admission.admit import (
    MAX_HEAD_BYTES,
    Admitted,
    HttpVersion,
    Refused,
    admit,
)
from tests.routing.admission.paths import HIDDEN_DOT_SEGMENT, paths

targets = paths | st.binary(max_size=30) | paths.map(lambda path: b"http://u@a.b:80" + path)
names = st.sampled_from(
    ["Connection", "te", "upgrade", "cookie", "Accept", "accept", "x-Cellway-Cell", "a", "host"]
) | st.text(max_size=6)
values = st.sampled_from(
    [b"upgrade", b"websocket", b"h2c", b"te", b"trailers", b"a, cookie", b" x ", b"100-continue"]
) | st.binary(max_size=12)
headers = st.lists(st.tuples(names, values), max_size=6)
methods = st.sampled_from(["GET", "POST", "OPTIONS", "CONNECT", "QUERY"]) | st.text(max_size=5)
hosts = st.none() | st.sampled_from([b"a", b"A.b:80", b"[::1]:8080"]) | st.binary(max_size=8)
versions = st.sampled_from(HttpVersion)


def test_an_ordinary_request() -> None:
    sent = [
        ("Accept", b"text/html"),
        ("X-Cellway-Cell", b"cell-9"),
        ("Cookie", b"_gitlab_session=cell-1_abc"),
        ("Connection", b"keep-alive, x-foo"),
        ("X-Foo", b"1"),
        ("X-Forwarded-For", b"10.0.0.1"),
        ("accept", b"*/*"),
        ("Private-Token", b" glpat-x "),
    ]
    assert admit("GET", b"/a/../b?c", b"GitLab.example:443", sent) == Admitted(
        "GET",
        b"GitLab.example:443",
        b"/b?c",
        (
            ("accept", b"text/html,*/*"),
            ("cookie", b"_gitlab_session=cell-1_abc"),
            ("private-token", b"glpat-x"),
        ),
    )


@pytest.mark.parametrize(
    ("method", "target", "host", "fields", "status"),
    [
        ("GET", b"/", None, [], 400),
        ("GET", b"/", b"a b", [], 400),
        ("GET", b"/\xc3\xa9", b"a", [], 400),
        ("get", b"/", b"a", [], 400),
        ("OPTIONS", b"*", b"a", [], 404),
        ("CONNECT", b"a:443", b"a", [], 404),
        ("GET", b"https://a/", b"a", [], 403),
        ("GET", b"ftp://a/", b"a", [], 400),
        ("GET", b"http://a?x", b"a", [], 404),
        ("GET", b"http://a:" + b"9" * 5000, b"a", [], 400),
        ("GET", b"/" + b"a" * MAX_HEAD_BYTES, b"a", [], 431),
        ("GET", b"/", b"a", [("a", b"1")] * 100, 431),
        ("GET", b"/", b"a", [("x_cellway_cell", b"1")], 400),
        ("GET", b"/", b"a", [("a", b"1\nx-cellway-cell: 1")], 400),
        ("GET", b"/", b"a", [("a\r\nb", b"1")], 400),
        ("GET", b"/", b"a", [("Connection", b"x-forwarded-for")], 400),
        ("GET", b"/", b"a", [("Connection", b"host")], 400),
        ("GET", b"/", b"a", [("Upgrade", b"tls"), ("Connection", b"upgrade")], 403),
        ("POST", b"/", b"a", [("Transfer-Encoding", b"gzip")], 501),
        ("POST", b"/", b"a", [("Transfer-Encoding", b"chunked"), ("Content-Length", b"1")], 400),
        ("POST", b"/", b"a", [("Content-Length", b"9" * 5000)], 400),
        ("QUERY", b"/", b"a", [], 400),
    ],
)
def test_refusals(
    method: str, target: bytes, host: bytes | None, fields: list[tuple[str, bytes]], status: int
) -> None:
    answer = admit(method, target, host, fields)
    assert isinstance(answer, Refused)
    assert answer.status == status
    assert answer.reason


@pytest.mark.parametrize(
    ("target", "host", "fields", "authority"),
    [
        (b"/", b"a", [], b"a"),
        (b"/", None, [("Host", b"a")], b"a"),
        (b"/", b"a", [("Host", b"b")], b"a,b"),
        (b"/", b"", [], b""),
        (b"http://u:p@b:80/", b"a", [], b"b:80"),
        (b"http://[::1]:80", None, [("host", b"x")], b"[::1]:80"),
    ],
)
def test_http1_authority(
    target: bytes, host: bytes | None, fields: list[tuple[str, bytes]], authority: bytes
) -> None:
    answer = admit("GET", target, host, fields)
    assert isinstance(answer, Admitted)
    assert (answer.authority, answer.headers) == (authority, ())


def test_http2_differs_where_its_codec_does() -> None:
    version = HttpVersion.HTTP_2
    accepted = admit(
        "FOO",
        b"/\xc3\xa9",
        b"a",
        [("host", b"b"), ("cookie", b"a=b"), ("cookie", b"c")],
        version=version,
    )
    assert accepted == Admitted("FOO", b"a", b"/%C3%A9", (("cookie", b"a=b; c"),))
    for fields in ([("A", b"1")], [("connection", b"close")], [("te", b"gzip")], [("a", b"\r")]):
        assert isinstance(admit("GET", b"/", b"a", fields, version=version), Refused)
    assert isinstance(admit("GET", b"http://a/", b"a", [], version=version), Refused)
    assert isinstance(admit("GET", b"/", b"u@a", [], version=version), Refused)


def test_a_tls_connection_takes_https_targets() -> None:
    assert isinstance(admit("GET", b"https://a/", b"a", [], tls=True), Admitted)


def test_a_websocket_keeps_its_handshake() -> None:
    fields = [("Upgrade", b"WebSocket"), ("Connection", b"keep-alive, Upgrade")]
    answer = admit("GET", b"/-/cable", b"a", fields)
    assert isinstance(answer, Admitted)
    assert dict(answer.headers) == {
        "upgrade": b"WebSocket",
        "connection": b"keep-alive, Upgrade",
    }


@settings(max_examples=400)
@given(methods, targets, hosts, headers, versions)
@example("GET", b"/", b"a", [("\ud800", b"1"), ("Connection", b"\xff")], HttpVersion.HTTP_1_1)
def test_any_request_gets_an_answer_that_holds(
    method: str,
    target: bytes,
    host: bytes | None,
    fields: list[tuple[str, bytes]],
    version: HttpVersion,
) -> None:
    answer = admit(method, target, host, fields, version=version)
    if isinstance(answer, Refused):
        assert answer.status in {400, 403, 404, 431, 501}
        return
    assert answer.path.startswith(b"/")
    assert b"#" not in answer.path
    for name, value in answer.headers:
        assert name == name.lower()
        assert not name.startswith("x-cellway-")
        assert "_" not in name
        assert not set(value) & set(b"\0\r\n")
    if not HIDDEN_DOT_SEGMENT.search(answer.path):
        again = admit(answer.method, answer.path, answer.authority, answer.headers, version=version)
        assert again == answer
