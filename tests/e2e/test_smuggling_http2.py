"""HTTP/2 header blocks that try to be two requests of HTTP/1.1: a cell gets what was decided."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.echo_upstream import ECHO_HEADER
from tests.e2e.smuggling import SMUGGLED, Edge, check_one, running_edge
from tests.support.raw_http import RawConnection, RawResponse
from tests.support.raw_http2 import Http2Refusal, RawHttp2Connection


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with running_edge(tmp_path_factory.mktemp("smuggling")) as edge:
        yield edge


Block = list[tuple[bytes, bytes]]


def block(*fields: tuple[bytes, bytes], **pseudo: bytes) -> Block:
    """Return an HTTP/2 header block for /t/acme, with pseudo headers replaced."""
    start = {"method": b"POST", "scheme": b"http", "path": b"/t/acme", "authority": b"a"} | pseudo
    return [(b":" + name.encode(), value) for name, value in start.items()] + list(fields)


CRLF = b"\r\nx-cellway-cell: cell-1\r\n\r\n" + SMUGGLED
BAD_BLOCKS = {
    "CRLF in a value": block((b"a", b"b" + CRLF)),
    "LF in a value": block((b"a", b"b\nx-cellway-cell: cell-1")),
    "CR in a value": block((b"a", b"b\rc")),
    "NUL in a value": block((b"a", b"b\0c")),
    "CRLF in a name": block((b"a: b" + CRLF, b"c")),
    "colon in a name": block((b"transfer-encoding: chunked\r\na", b"c")),
    "blank in a name": block((b"x-cellway-cell ", b"cell-1")),
    "capitals in a name": block((b"X-Cellway-Cell", b"cell-1")),
    "underscore": block((b"x_cellway_cell", b"cell-1")),
    "CRLF in the method": block(method=b"GET /t/victim HTTP/1.1" + CRLF),
    "blank in the method": block(method=b"GET /t/victim"),
    "CRLF in the path": block(path=b"/t/acme HTTP/1.1" + CRLF),
    "LF in the path": block(path=b"/t/acme\nx-cellway-cell: cell-1"),
    "blank in the path": block(path=b"/t/acme HTTP/1.1"),
    "CRLF in the authority": block(authority=b"a" + CRLF),
    "path in the authority": block(authority=b"a/t/victim?"),
    "userinfo in the authority": block(authority=b"victim@a"),
    "CRLF in the scheme": block(scheme=b"http" + CRLF),
    "path in the scheme": block(scheme=b"http://victim/t/victim?"),
    "transfer-encoding": block((b"transfer-encoding", b"chunked")),
    "transfer-encoding obfuscated": block((b"transfer-encoding", b"xchunked")),
    "connection": block((b"connection", b"x-cellway-cell")),
    "upgrade": block((b"upgrade", b"h2c")),
    "te": block((b"te", b"chunked")),
    "two paths": block((b":path", b"/t/victim")),
    "pseudo header at the end": block((b"a", b"b"), (b":path", b"/t/victim")),
    "unknown pseudo header": block((b":cell", b"cell-1")),
    "content-length is no number": block((b"content-length", b"+0")),
    "two content-lengths": block((b"content-length", b"0"), (b"content-length", b"5")),
    "two hosts": block((b"host", b"a"), (b"host", b"victim")),
}


def exchange_http2(edge: Edge, sent: Block) -> RawResponse | Http2Refusal:
    with RawHttp2Connection(edge.address) as connection:
        return connection.exchange(sent, body=SMUGGLED)


def test_blocks_that_http1_would_read_otherwise_are_refused(edge: Edge) -> None:
    edge.forget()
    # All at once, because Envoy waits a second before it ends a connection.
    with ThreadPoolExecutor(len(BAD_BLOCKS)) as pool:
        answers = pool.map(lambda sent: exchange_http2(edge, sent), BAD_BLOCKS.values())
    accepted = {
        name: answer
        for name, answer in zip(BAD_BLOCKS, answers, strict=True)
        if isinstance(answer, RawResponse) and answer.status != 400
    }
    assert accepted == {}
    with RawConnection(edge.address) as connection:
        assert edge.probe(connection) == []
    assert edge.arrived() == []


@pytest.mark.parametrize("length", [b"0", b"1", b"9999"])
def test_a_content_length_that_the_body_belies_is_refused(edge: Edge, length: bytes) -> None:
    edge.forget()
    answer = exchange_http2(edge, block((b"content-length", length)))
    assert isinstance(answer, Http2Refusal) or answer.header(ECHO_HEADER) is None
    with RawConnection(edge.address) as connection:
        assert edge.probe(connection) == []
    # The head may have gone out before the body was seen to be wrong; never a second one.
    if edge.arrived():
        check_one(edge)


GOOD_BLOCKS = {
    "host beside authority": block((b"host", b"victim")),
    "internal": block((b"x-cellway-cell", b"cell-1"), (b"x-cellway-rule", b"x")),
    "scheme of another kind": block(scheme=b"https"),
    "te": block((b"te", b"trailers")),
    "other paths": block((b"x-original-url", b"/t/victim"), (b"x-rewrite-url", b"/t/victim")),
}


@pytest.mark.parametrize("sent", GOOD_BLOCKS.values(), ids=GOOD_BLOCKS)
def test_other_blocks_arrive_as_decided(edge: Edge, sent: Block) -> None:
    edge.forget()
    trailers = [(b"x-cellway-cell", b"cell-1"), (b"cookie", b"s=cell-1")]
    with RawHttp2Connection(edge.address) as connection:
        answer = connection.exchange(sent, body=SMUGGLED, trailers=trailers)
    assert isinstance(answer, RawResponse)
    assert answer.status == 200
    assert check_one(edge).authority == b"a"
