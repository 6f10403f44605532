"""The model of the edge's admission against the real Envoy: they agree on every request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.routing.admission.admit import HttpVersion, Refused, admit
from tests.e2e.echo_upstream import Arrived, EchoUpstream
from tests.e2e.edge_client import EdgeClient, http2_block
from tests.e2e.edge_requests import (
    CONNECTION_VALUES,
    HOSTS,
    KNOWN_NAMES,
    TE_VALUES,
    RawRequest,
    RequestMaker,
)
from tests.support.edge_bootstrap import EDGE_LISTENER, echo_bootstrap
from tests.support.envoy_process import EnvoyProcess
from tests.support.raw_http import RawConnection, RawResponse, exchange, request_bytes
from tests.support.raw_http2 import Http2Refusal, RawHttp2Connection

HTTP1_FUZZ_REQUESTS = 6000
HTTP2_FUZZ_REQUESTS = 4000
LIMIT = 60 * 1024

PATHS = [
    *(b"/", b"//a", b"/a/../b", b"/a/./b", b"/%2e%2e/", b"/a/%2e%2E/b", b"/a%2Fb", b"/a%2fb"),
    *(b"/a%252Fb", b"/a\\b", b"/a%5Cb", b"/a;p/b", b"/a;/../b", b"/a#b", b"/a?b#c", b"/a%23b"),
    *(b"/%00", b"/a?%00", b"/%c0%af", b"/%C3%A9", b"/e%CC%81", b"/\xc3\xa9", b"/\xc0\xaf"),
    *(b"/A/", b"/a/", b"/a.", b"/a/..", b"/../../x", b"/%41%7e%2d%2E%5f", b"/a//b///c", b""),
    *(b"/a/..//b", b"/a//../b", b"/?a//b/../c", b"/.", b"/..a", b"/...", b"//", b"///", b"//."),
    *(b"/%%34%31", b"/%2%65%2%65/b", b"/%e%30", b"/%252e%252e/x", b"/a/..;/b", b"/a/.;x"),
    *(b"/a/%2e%2e;/b", b"/a\\..;x\\b", b"/a/..%2fb", b"/a/..%5cb", b"/a/\\..", b"/%", b"/%zz"),
    *(b"/a|b", b'/a^`{}"<>b', b"/a b", b"/a\tb", b"/a\x01b", b"/a\x7fb", b"?a", b"a", b"*"),
    *(b"http://Foo.com/a/../b", b"http://foo.com", b"http://foo.com?x", b"https://foo.com/x"),
    *(b"HTTP://u:p@foo.com:80/x", b"ftp://foo.com/x", b"foo.com:80", b"http:///a", b"http:/a"),
]
AUTHORITIES = [
    *HOSTS,
    *(b"a.", b"A.Com", b"\xc3\xa9.x", b"a/b", b"a\\b", b"a#b", b"a?b", b" a ", b"a\tb", b'a"b'),
]
INTERNAL_NAMES = ["x-cellway-cell", "X-Cellway-Cell", "X-CELLWAY-CELL", "x-cellway-", "X-cellWAY-é"]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeClient]:
    directory = tmp_path_factory.mktemp("edge")
    with (
        EchoUpstream() as upstream,
        EnvoyProcess(echo_bootstrap(upstream.port), directory) as envoy,
        EdgeClient(("127.0.0.1", envoy.listener_port(EDGE_LISTENER)), upstream) as client,
    ):
        yield client


def differences(
    edge: EdgeClient, requests: Iterator[RawRequest] | list[RawRequest], version: HttpVersion
) -> list[str]:
    checked = (edge.difference(request, version) for request in requests)
    return [difference for difference in checked if difference is not None]


both_versions = pytest.mark.parametrize("version", HttpVersion, ids=lambda version: version.value)


@both_versions
def test_the_model_agrees_on_confusing_paths(edge: EdgeClient, version: HttpVersion) -> None:
    requests = [RawRequest(target=path) for path in PATHS]
    requests += [RawRequest("OPTIONS", path) for path in (b"*", b"*a", b"/a", b"http://a")]
    requests += [
        RawRequest("CONNECT", path) for path in (b"a:443", b"a", b"/a", b"*", b"http://a/")
    ]
    assert differences(edge, requests, version) == []


@both_versions
def test_the_model_agrees_on_confusing_hosts(edge: EdgeClient, version: HttpVersion) -> None:
    requests = [RawRequest(host=host) for host in [None, *AUTHORITIES]]
    for host in (b"cells.example", None):
        for names in (("Host",), ("host", "host")):
            others = tuple((name, b"other.example") for name in names)
            requests.append(RawRequest(host=host, headers=others))
    requests += [RawRequest(target=b"http://t/", host=host) for host in (None, b"bad host", b"x")]
    assert differences(edge, requests, version) == []


@both_versions
def test_the_model_agrees_on_every_byte_in_every_place(
    edge: EdgeClient, version: HttpVersion
) -> None:
    requests = []
    for byte in set(range(256)) - set(b"\n"):
        raw = bytes([byte])
        requests += [
            RawRequest(target=b"/A%%%02xB" % byte),
            RawRequest(target=b"/A%%%02XB" % byte),
            RawRequest(target=b"/A" + raw + b"B"),
            RawRequest(target=b"/A?q" + raw + b"B"),
            RawRequest(target=b"/%" + raw + b"1"),
            RawRequest(host=b"a" + raw + b"b"),
            RawRequest(headers=(("a", b"x" + raw + b"y"),)),
        ]
        if raw != b":":  # in HTTP/1.1 the name simply ends there
            requests.append(RawRequest(headers=((f"a{chr(byte)}b", b"1"),)))
    assert differences(edge, requests, version) == []


@both_versions
def test_the_model_agrees_on_methods(edge: EdgeClient, version: HttpVersion) -> None:
    names = ["ACL BIND CHECKOUT COPY DELETE GET HEAD LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL"]
    names += ["MOVE MSEARCH NOTIFY PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT"]
    names += ["SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK UNSUBSCRIBE M-SEARCH PRI FOO get"]
    requests = [RawRequest(method, b"/m") for method in " ".join(names).split()]
    requests.append(RawRequest("QUERY", b"/m", headers=(("content-type", b"text/plain"),)))
    assert differences(edge, requests, version) == []


@both_versions
def test_internal_headers_never_arrive(edge: EdgeClient, version: HttpVersion) -> None:
    requests = [
        RawRequest(headers=((name, b"1"), ("a", b"2"), (name, b"3"))) for name in INTERNAL_NAMES
    ]
    requests += [
        RawRequest(headers=(("x_cellway_cell", b"1"),)),
        RawRequest(headers=(("x-cellway_cell", b"1"),)),
        RawRequest(headers=(("x-cellway-cell", b"1"), ("connection", b"x-cellway-cell"))),
        RawRequest(headers=(("x-envoy-auth-failure-mode-allowed", b"true"),)),
        RawRequest(headers=(("x-envoy-original-path", b"/b"), ("x-envoy-internal", b"true"))),
    ]
    assert differences(edge, requests, version) == []


def test_the_model_agrees_on_connection_and_te_headers(edge: EdgeClient) -> None:
    carried = (("a", b"1"), ("cookie", b"a=b"), ("x-foo", b"1"), ("upgrade", b"websocket"))
    requests = [
        RawRequest(headers=(*carried, ("te", te), ("connection", value)))
        for te in TE_VALUES
        for value in [*CONNECTION_VALUES, b"keep-alive"]
    ]
    assert differences(edge, requests, HttpVersion.HTTP_1_1) == []


def test_the_model_joins_the_repeated_headers_that_the_edge_joins(edge: EdgeClient) -> None:
    requests = [
        RawRequest(headers=((name, b""), ("z", b"1"), (name, b"7"), (name, b""), (name, b"8")))
        for name in KNOWN_NAMES
    ]
    assert differences(edge, requests, HttpVersion.HTTP_1_1) == []
    assert differences(edge, requests, HttpVersion.HTTP_2) == []


def test_the_model_has_the_limits_of_http1(edge: EdgeClient) -> None:
    fixed = len(request_bytes(b"/", host=b"h"))
    requests = [
        RawRequest(target=b"/" + b"a" * (LIMIT - fixed + extra), host=b"h")
        for extra in (0, 1, 4096)
    ]
    fixed = len(request_bytes(b"/", [("a", b"")], host=b"h"))
    requests += [
        RawRequest(host=b"h", headers=(("a", b"b" * (LIMIT - fixed + extra)),)) for extra in (0, 1)
    ]
    requests += [RawRequest(headers=(("a", b"b"),) * count) for count in (99, 100)]
    requests += [RawRequest(headers=(("accept", b"b"),) * 150)]
    statuses = [edge.send(request) for request in requests]
    assert [status for status in statuses if isinstance(status, int)] == [431] * 4
    assert differences(edge, requests, HttpVersion.HTTP_1_1) == []


def test_the_model_has_the_limits_of_http2(edge: EdgeClient) -> None:
    fixed = sum(len(name) + len(value) for name, value in http2_block(RawRequest(host=b"h")))
    requests = [
        RawRequest(target=b"/" + b"a" * (LIMIT - fixed + extra), host=b"h")
        for extra in (0, 1, 4096)
    ]
    requests += [RawRequest(headers=((name, b"b"),) * 96) for name in ("a", "cookie")]
    requests += [RawRequest(headers=((name, b"b"),) * 97) for name in ("a", "cookie")]
    refused = [edge.send(request, HttpVersion.HTTP_2) is None for request in requests]
    assert refused == [False, True, True, False, False, True, True]
    assert differences(edge, requests, HttpVersion.HTTP_2) == []


def test_the_model_agrees_on_random_requests_of_http1(edge: EdgeClient) -> None:
    maker = RequestMaker(seed=20261123)
    requests = [maker.http1() for _ in range(HTTP1_FUZZ_REQUESTS // 2)]
    requests += [RawRequest(target=maker.path()) for _ in range(HTTP1_FUZZ_REQUESTS // 4)]
    requests += [RawRequest(headers=maker.headers()) for _ in range(HTTP1_FUZZ_REQUESTS // 4)]
    assert differences(edge, requests, HttpVersion.HTTP_1_1) == []
    admitted = [r for r in requests if not isinstance(_admit(r), Refused)]
    assert HTTP1_FUZZ_REQUESTS / 3 < len(admitted) < HTTP1_FUZZ_REQUESTS * 0.9


def test_the_model_agrees_on_random_requests_of_http2(edge: EdgeClient) -> None:
    maker = RequestMaker(seed=20261123)
    requests = [maker.http2() for _ in range(HTTP2_FUZZ_REQUESTS)]
    assert differences(edge, requests, HttpVersion.HTTP_2) == []


def _admit(request: RawRequest) -> object:
    return admit(request.method, request.target, request.host, request.headers)


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ([("Content-Length", b"5"), ("Transfer-Encoding", b"chunked")], b"0\r\n\r\n", 400),
        ([("Transfer-Encoding", b"chunked"), ("Content-Length", b"0")], b"0\r\n\r\n", 400),
        ([("Transfer-Encoding", b"xchunked")], b"0\r\n\r\n", 501),
        ([("Transfer-Encoding", b"chunked, identity")], b"0\r\n\r\n", 501),
        (
            [("Transfer-Encoding", b"identity"), ("Transfer-Encoding", b"chunked")],
            b"0\r\n\r\n",
            501,
        ),
        ([("Transfer-Encoding", b"\x0bchunked")], b"0\r\n\r\n", 400),
        ([("Transfer-Encoding ", b"chunked")], b"0\r\n\r\n", 400),
        ([("Content-Length", b"0"), ("Content-Length", b"5")], b"", 400),
        ([("Content-Length", b"0"), ("Content-Length", b"0")], b"", 400),
        ([("Content-Length", b"+0")], b"", 400),
        ([("Transfer-Encoding", b"chunked")], b"1\na\n0\n\n", 400),
        ([("Transfer-Encoding", b"chunked")], b"1;a\nb\r\na\r\n0\r\n\r\n", 400),
        ([("Transfer-Encoding", b"chunked")], b"g\r\n\r\n0\r\n\r\n", 400),
    ],
)
def test_ambiguous_framing_is_refused_and_ends_the_connection(
    edge: EdgeClient, headers: list[tuple[str, bytes]], body: bytes, status: int
) -> None:
    data = request_bytes(b"/framed", headers, method="POST", body=body + SMUGGLED)
    with RawConnection(edge.address) as connection:
        response = connection.exchange(data)
        assert response is not None
        assert (response.status, response.closes) == (status, True)
        assert connection.is_closed_by_peer()
    assert b"/smuggled" not in edge.upstream.last_head


@pytest.mark.parametrize(
    "body",
    [
        b"0\r\n\r\n",
        b"1;ext=1\r\na\r\n0\r\n\r\n",
        b"1\r\na\r\n0\r\nx-cellway-cell: 1\r\nz: 1\r\n\r\n",
    ],
)
def test_chunked_bodies_arrive_without_their_trailers(edge: EdgeClient, body: bytes) -> None:
    data = request_bytes(b"/c", [("Transfer-Encoding", b"chunked")], method="POST", body=body)
    response = exchange(edge.address, data)
    assert response is not None
    assert response.status == 200
    assert b"cellway" not in response.body


def test_expect_is_answered_by_the_edge(edge: EdgeClient) -> None:
    head = request_bytes(
        b"/e", [("Expect", b"100-continue"), ("Content-Length", b"1")], method="POST"
    )
    with RawConnection(edge.address) as connection:
        connection.send(head)
        interim = connection.read_response(interim=True)
        assert interim is not None
        assert interim.status == 100
        connection.send(b"a")
        response = connection.read_response()
    assert response is not None
    assert b"\r\nexpect:" not in response.body.lower()


@pytest.mark.parametrize(
    "field",
    [
        (b"a", b"b\r\nx-cellway-cell: 1"),
        (b"a", b"b\nx-cellway-cell: 1"),
        (b"a\r\nx-cellway-cell", b"1"),
        (b"a", b"b\0"),
        (b"transfer-encoding", b"chunked"),
        (b"X-Cellway-Cell", b"1"),
        (b":path", b"/other"),
    ],
)
def test_http2_fields_cannot_become_http1_lines(
    edge: EdgeClient, field: tuple[bytes, bytes]
) -> None:
    before = edge.upstream.requests
    with RawHttp2Connection(edge.address) as connection:
        answer = connection.exchange([*http2_block(RawRequest()), field])
    assert isinstance(answer, Http2Refusal)
    assert edge.upstream.requests == before


def test_http2_trailers_do_not_become_headers(edge: EdgeClient) -> None:
    with RawHttp2Connection(edge.address) as connection:
        answer = connection.exchange(
            http2_block(RawRequest("POST")), body=b"a", trailers=[(b"x-cellway-cell", b"1")]
        )
    assert isinstance(answer, RawResponse)
    assert b"cellway" not in answer.body


def test_filters_see_what_the_model_says(tmp_path: Path) -> None:
    source = """function envoy_on_request(handle)
      local seen = {}
      for name, value in pairs(handle:headers()) do
        if name:sub(1, 1) ~= ":" then table.insert(seen, name .. ": " .. value) end
      end
      local line = handle:headers():get(":method") .. " " .. handle:headers():get(":path")
      table.insert(seen, 1, line .. " HTTP/1.1\\r\\nhost: " .. handle:headers():get(":authority"))
      handle:respond({[":status"] = "200", ["content-type"] = "text/plain"},
                     table.concat(seen, "\\r\\n") .. "\\r\\n\\r\\n")
    end"""
    lua = {
        "name": "lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": source},
        },
    }
    maker = RequestMaker(seed=7)
    with (
        EchoUpstream() as upstream,
        EnvoyProcess(echo_bootstrap(upstream.port, before_router=[lua]), tmp_path) as envoy,
    ):
        address = ("127.0.0.1", envoy.listener_port(EDGE_LISTENER))
        for _ in range(300):
            request = RawRequest(target=maker.path(), headers=maker.headers())
            admitted = admit("GET", request.target, request.host, request.headers)
            if isinstance(admitted, Refused):
                continue
            response = exchange(
                address, request_bytes(request.target, request.headers, host=request.host)
            )
            assert response is not None
            seen = Arrived.parse(response.body)
            expected = [("host", admitted.authority), *admitted.headers]
            edge_own = {"x-forwarded-for", "x-forwarded-proto", "x-request-id"}
            edge_own.add("x-envoy-external-address")
            assert seen.path == admitted.path
            assert [field for field in seen.headers if field[0] not in edge_own] == expected
