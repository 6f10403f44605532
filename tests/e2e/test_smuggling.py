"""HTTP/1.1 requests that try to be two, or to speak for the edge: a cell gets what was decided."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.echo_upstream import ECHO_HEADER, Arrived, EchoUpstream
from tests.e2e.smuggling import (
    ACME,
    CHUNKED,
    FORGED,
    RULES,
    SMUGGLED,
    VICTIM,
    Edge,
    Fields,
    check_one,
    running_edge,
)
from tests.support.raw_http import RawConnection, RawResponse, request_bytes
from tests.support.system import System


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with running_edge(tmp_path_factory.mktemp("smuggling")) as edge:
        yield edge


def post(fields: Fields, body: bytes, path: bytes = b"/t/acme") -> bytes:
    return request_bytes(path, fields, method="POST", body=body)


def send(edge: Edge, data: bytes) -> list[RawResponse]:
    """Send the bytes; return every response, those before the answer to a probe included."""
    edge.forget()
    with RawConnection(edge.address) as connection:
        first = connection.exchange(data)
        if first is None:
            return []
        return [first] if first.closes else [first, *edge.probe(connection)]


REFUSED = {
    "CL.TE": post([("Content-Length", b"%d" % (len(SMUGGLED) + 5)), *CHUNKED], b"0\r\n\r\n" + SMUGGLED),
    "TE.CL": post([*CHUNKED, ("Content-Length", b"4")], b"0\r\n\r\n" + SMUGGLED),
    "CL 0 and TE": post([("Content-Length", b"0"), *CHUNKED], b"0\r\n\r\n" + SMUGGLED),
    "two CL": post([("Content-Length", b"0"), ("Content-Length", b"5")], b"12345" + SMUGGLED),
    "two equal CL": post([("Content-Length", b"0"), ("content-length", b"0")], SMUGGLED),
    "CL list": post([("Content-Length", b"0, 0")], SMUGGLED),
    "CL sign": post([("Content-Length", b"+0")], SMUGGLED),
    "CL minus": post([("Content-Length", b"-1")], SMUGGLED),
    "CL hex": post([("Content-Length", b"0x0")], SMUGGLED),
    "CL text": post([("Content-Length", b"0 0")], SMUGGLED),
    "CL huge": post([("Content-Length", b"18446744073709551616")], SMUGGLED),
    "TE.TE two": post([*CHUNKED, ("Transfer-Encoding", b"identity")], b"0\r\n\r\n" + SMUGGLED),
    "TE.TE other first": post([("Transfer-Encoding", b"cow"), *CHUNKED], b"0\r\n\r\n" + SMUGGLED),
    "TE x": post([("Transfer-Encoding", b"xchunked")], b"0\r\n\r\n" + SMUGGLED),
    "TE list": post([("Transfer-Encoding", b"chunked, identity")], b"0\r\n\r\n" + SMUGGLED),
    "TE twice chunked": post([("Transfer-Encoding", b"chunked, chunked")], b"0\r\n\r\n" + SMUGGLED),
    "TE quoted": post([("Transfer-Encoding", b'"chunked"')], b"0\r\n\r\n" + SMUGGLED),
    "TE parameter": post([("Transfer-Encoding", b"chunked;q=1")], b"0\r\n\r\n" + SMUGGLED),
    "TE gzip": post([("Transfer-Encoding", b"gzip, chunked")], b"0\r\n\r\n" + SMUGGLED),
    "TE VT": post([("Transfer-Encoding", b"\x0bchunked")], b"0\r\n\r\n" + SMUGGLED),
    "TE NUL": post([("Transfer-Encoding", b"chunked\0")], b"0\r\n\r\n" + SMUGGLED),
    "TE DEL": post([("Transfer-Encoding", b"chunked\x7f")], b"0\r\n\r\n" + SMUGGLED),
    "TE blank before colon": post([("Transfer-Encoding ", b"chunked")], b"0\r\n\r\n" + SMUGGLED),
    "TE tab before colon": post([("Transfer-Encoding\t", b"chunked")], b"0\r\n\r\n" + SMUGGLED),
    "TE blank before name": post([(" Transfer-Encoding", b"chunked"), ("Content-Length", b"5")], b"0\r\n\r\n" + SMUGGLED),
    "TE underscore": post([("Transfer_Encoding", b"chunked")], b"0\r\n\r\n" + SMUGGLED),
    "TE folded in": post([("a", b"b\r\n c"), ("Transfer-Encoding", b"chunked\r\n , identity")], b"0\r\n\r\n" + SMUGGLED),
    "TE in HTTP/1.0": post([("Content-Length", b"0"), *CHUNKED], SMUGGLED).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "LF before a header": post([("a", b"b\nTransfer-Encoding: chunked"), ("Content-Length", b"5")], b"0\r\n\r\n" + SMUGGLED),
    "LF for the forged": post([("a", b"b\nx-cellway-cell: cell-1\nContent-Length: 0")], b"")
    .replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"),
    "chunk size bare LF": post(CHUNKED, b"1\na\n0\n\n" + SMUGGLED),
    "chunk extension with LF": post(CHUNKED, b"1;a\nb\r\na\r\n0\r\n\r\n" + SMUGGLED),
    "chunk size hex": post(CHUNKED, b"0x1\r\na\r\n0\r\n\r\n" + SMUGGLED),
    "chunk size sign": post(CHUNKED, b"+1\r\na\r\n0\r\n\r\n" + SMUGGLED),
    "chunk size minus": post(CHUNKED, b"-1\r\na\r\n0\r\n\r\n" + SMUGGLED),
    "chunk size overflow": post(CHUNKED, b"10000000000000001\r\na\r\n0\r\n\r\n" + SMUGGLED),
    "chunk size empty": post(CHUNKED, b"\r\na\r\n0\r\n\r\n" + SMUGGLED),
    "chunk size letter": post(CHUNKED, b"g\r\n\r\n0\r\n\r\n" + SMUGGLED),
    "Host with a path": request_bytes(b"/t/acme", host=b"a/../t/victim"),
    "Host with LF": request_bytes(b"/t/acme", host=b"a\nx-cellway-cell: cell-1\nContent-Length: 0\nTransfer-Encoding: chunked"),
    "no Host": request_bytes(b"/t/acme", host=None),
    "blank in target": request_bytes(b"/t/acme /t/victim"),
    "internal with _": request_bytes(b"/t/acme", [("x_cellway_cell", b"cell-1")]),
    "internal with one _": request_bytes(b"/t/acme", [("X-Cellway_Cell", b"cell-1")]),
    "internal with a blank": request_bytes(b"/t/acme", [("x-cellway-cell ", b"cell-1")]),
    "Connection nominates a forwarded header": request_bytes(b"/t/acme", [("Connection", b"close, x-forwarded-for")]),
}  # fmt: skip


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_ambiguous_requests_are_refused_and_nothing_after_them_is_read(
    edge: Edge, data: bytes
) -> None:
    responses = send(edge, data)
    # A status is an answer of the edge; no answer is a connection that it has closed.
    assert all(one.status in {400, 404, 501} and one.closes for one in responses), responses
    assert len(responses) <= 1
    assert all(one.header(ECHO_HEADER) is None for one in responses)
    # A body that goes wrong after its request was decided: then that request, and no other.
    if edge.arrived():
        check_one(edge)


ONE = {
    "smuggled as a body": post([("Content-Length", b"%d" % len(SMUGGLED))], SMUGGLED),
    "smuggled in a GET's body": request_bytes(
        b"/t/acme", [("Content-Length", b"%d" % len(SMUGGLED))], body=SMUGGLED
    ),
    "smuggled in a chunk": post(CHUNKED, b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)),
    "chunked in capitals": post([("TRANSFER-ENCODING", b"CHUNKED")], b"0\r\n\r\n"),
    "chunked with a tab": post([("Transfer-Encoding", b"\tchunked\t")], b"0\r\n\r\n"),
    "chunk extension": post(CHUNKED, b"1;a=b;c\r\na\r\n0;d\r\n\r\n"),
    "chunk extension quoted": post(CHUNKED, b'1;a="b;c"\r\na\r\n0\r\n\r\n'),
    "trailers": post(CHUNKED, b"0\r\nx-cellway-cell: cell-1\r\ncookie: s=cell-1\r\n\r\n"),
    "CR in a value": request_bytes(b"/t/acme", [("a", b"b\rx-cellway-cell: cell-1")]),
    "folded": request_bytes(b"/t/acme", [("a", b"b\r\n x-cellway-cell: cell-1")]),
    "bare LF at every line's end": b"GET /t/acme HTTP/1.1\nHost: a\nx-cellway-cell: cell-1\n\n",
    "two Hosts": request_bytes(b"/t/acme", [("Host", b"victim.example")], host=b"acme.example"),
    "Host is not the target's": request_bytes(b"http://a.example/t/acme", host=b"victim.example"),
    "internal": request_bytes(b"/t/acme", [(FORGED, b"cell-1"), ("X-CELLWAY-RULE", b"x")]),
    "internal twice": request_bytes(b"/t/acme", [(FORGED, b"cell-1"), ("X-Cellway-Cell", b"!404")]),
    "internal tier": request_bytes(
        b"/t/acme", [("x-cellway-tier", b"native"), ("x-cellway-", b"")]
    ),
    "internal nominated": request_bytes(
        b"/t/acme", [("Connection", b"x-cellway-cell, x-cellway-rule"), (FORGED, b"cell-1")]
    ),
    "classifier is dead, they say": request_bytes(
        b"/t/acme", [("x-envoy-auth-failure-mode-allowed", b"true")]
    ),
    "other paths": request_bytes(
        b"/t/acme",
        [
            *(("X-Original-URL", b"/t/victim"), ("X-Rewrite-URL", b"/t/victim")),
            *(("X-Forwarded-Prefix", b"/t/victim"), ("X-Envoy-Original-Path", b"/t/victim")),
            *(("X-Forwarded-Host", b"victim.example"), ("Forwarded", b"host=victim.example")),
            *(("X-HTTP-Method-Override", b"DELETE"), ("X-Forwarded-For", b"127.0.0.1")),
            *(("X-Forwarded-Proto", b"https"), ("X-Forwarded-Port", b"1")),
        ],
    ),
}


@pytest.mark.parametrize("data", ONE.values(), ids=ONE)
def test_what_is_one_request_arrives_as_one_where_it_was_decided(edge: Edge, data: bytes) -> None:
    (response,) = send(edge, data)
    assert response.status == 200
    request = check_one(edge)
    # Nothing of it could be read as another header or another line.
    assert not any(set(value) & set(b"\r\n\0") for _, value in request.headers)
    assert len([name for name, _ in request.headers if name == "host"]) == 1


TOLERATED = {
    "bare LF ends the head": b"GET /t/acme HTTP/1.1\nHost: a\n\n" + SMUGGLED,
    "chunk end bare LF": post(CHUNKED, b"1\r\na\n0\r\n\r\n" + SMUGGLED),
    "chunk end missing": post(CHUNKED, b"1\r\nab\r\n0\r\n\r\n" + SMUGGLED),
    "trailers end with bare LF": post(CHUNKED, b"0\r\na: b\n\n" + SMUGGLED),
    "blank after the chunk size": post(CHUNKED, b"1 \r\na\r\n0\r\n\r\n" + SMUGGLED),
}


@pytest.mark.parametrize("data", TOLERATED.values(), ids=TOLERATED)
def test_where_envoy_is_lenient_cells_still_see_what_it_saw(edge: Edge, data: bytes) -> None:
    """Envoy reads one request and then another; each goes, well-formed, to its own cell.

    Another Envoy may refuse the first request: then it reads nothing after it.
    """
    send(edge, data)
    arrived = {(name, request.path) for name, request in edge.arrived()}
    if (VICTIM, b"/t/victim") in arrived:
        assert arrived == {(ACME, b"/t/acme"), (VICTIM, b"/t/victim")}
    else:
        assert arrived <= {(ACME, b"/t/acme")}
    for name, request in edge.arrived():
        cells = [value for key, value in request.headers if key == "x-cellway-cell"]
        assert cells == [name.encode()]


def test_pipelined_requests_are_each_decided_by_themselves(edge: Edge) -> None:
    cookie = [("Cookie", b"s=cell-3")]
    asked = [(b"/t/acme", ACME, []), (b"/t/victim", VICTIM, []), (b"/t/acme", "cell-3", cookie)] * 5
    edge.forget()
    with RawConnection(edge.address) as connection:
        connection.send(b"".join(request_bytes(path, fields) for path, _, fields in asked))
        for path, cell, _ in asked:
            response = connection.read_response()
            assert response is not None
            seen = Arrived.parse(response.body)
            assert (seen.path, dict(seen.headers)["x-cellway-cell"]) == (path, cell.encode())
    assert len(edge.arrived()) == len(asked)


def test_a_nominated_cookie_counts_for_nobody(edge: Edge) -> None:
    fields = [("Cookie", b"s=cell-3"), ("Connection", b"keep-alive, cookie")]
    (response,) = send(edge, request_bytes(b"/t/acme", fields))
    assert response.status == 200
    assert "cookie" not in dict(check_one(edge).headers)


@pytest.mark.parametrize("framing", [[("Content-Length", b"%d" % len(SMUGGLED))], CHUNKED])
def test_expect_is_answered_by_the_edge_and_the_body_stays_a_body(
    edge: Edge, framing: Fields
) -> None:
    edge.forget()
    body = SMUGGLED
    if framing is CHUNKED:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    with RawConnection(edge.address) as connection:
        connection.send(post([("Expect", b"100-continue"), *framing], b""))
        interim = connection.read_response(interim=True)
        assert interim is not None
        assert interim.status == 100
        connection.send(body)
        response = connection.read_response()
        assert response is not None
        assert response.status == 200
        assert edge.probe(connection) == []
    assert "expect" not in dict(check_one(edge).headers)


def test_a_client_that_does_not_wait_for_100_and_one_that_expects_more(edge: Edge) -> None:
    framing = ("Content-Length", b"%d" % len(SMUGGLED))
    for expect in (b"100-continue", b"200-maybe", b"100-continue, x"):
        (response,) = send(edge, post([("Expect", expect), framing], SMUGGLED))
        assert response.status == 200
        check_one(edge)


def test_a_refusal_before_the_body_has_come_ends_the_connection(edge: Edge) -> None:
    """After an early response, what the client still sends must not be read as a request."""
    edge.forget()
    with RawConnection(edge.address) as connection:
        head = post([("Content-Length", b"%d" % (2 * len(SMUGGLED)))], SMUGGLED, b"/t/nobody")
        response = connection.exchange(head)
        assert response is not None
        assert response.status == 404
        if not response.closes:
            # It goes on with the body, and then with what comes after it.
            connection.send(SMUGGLED)
            assert edge.probe(connection) == []
    assert edge.arrived() == []


def test_only_callers_from_debug_networks_are_told_how_it_was_decided(tmp_path: Path) -> None:
    with EchoUpstream() as cell, System(tmp_path, 0, debug_networks=["10.0.0.0/8"]) as s:
        s.add_cell("cell-3", cell.port)
        s.use_ruleset(RULES)
        with RawConnection(("127.0.0.1", s.edge_port)) as connection:
            for path, status in ((b"/", 200), (b"/t/nobody", 404)):
                forged = [("X-Forwarded-For", b"10.0.0.1"), (FORGED, b"cell-3")]
                response = connection.exchange(request_bytes(path, forged))
                assert response is not None
                assert response.status == status
                assert not [name for name, _ in response.headers if name.startswith("x-cellway")]
