"""The classifier's HTTP server on the wire: framing, limits, and what it says when it can't decide."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.classifier import http_connection
from control_plane.server import Running
from tests.support.plane import add_cell, edge_secret, plane_with, route_all


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Running]:
    async with plane_with(tmp_path) as (running, _):
        add_cell(running.topology)
        yield running


def with_secret(plane: Running, sent: bytes) -> bytes:
    """Put the edges' secret into each head, as Envoy does."""
    ((name, secret),) = edge_secret(plane.topology).items()
    return sent.replace(b" HTTP/1.1\r\n", f" HTTP/1.1\r\n{name}: {secret}\r\n".encode())


async def talk(plane: Running, sent: bytes) -> bytes:
    """Everything that comes until the server closes, or is silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", plane.ports.classifier)
    writer.write(with_secret(plane, sent))
    got = b""
    try:
        while True:
            async with asyncio.timeout(1):
                part = await reader.read(65536)
            if not part:
                return got + b"<closed>"
            got += part
    except TimeoutError:
        return got
    finally:
        writer.close()


async def test_without_a_ruleset_it_says_so(plane: Running) -> None:
    got = await talk(plane, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 503")
    assert b"x-cellway-error: no ruleset is active" in got


async def test_questions_on_one_connection_are_answered_in_order(plane: Running) -> None:
    route_all(plane.topology)
    one = b"GET /x HTTP/1.1\r\nHost: a\r\ncontent-length: 0\r\n\r\n"
    got = await talk(plane, one * 3)
    assert got.count(b"x-cellway-cell: cell-1\r\n") == 3
    assert not got.endswith(b"<closed>")


async def test_an_upgrade_and_connect_are_answered_and_nothing_more_is_read(plane: Running) -> None:
    route_all(plane.topology)
    for head in (
        b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    ):
        got = await talk(plane, head + b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n")
        assert got.count(b"HTTP/1.1 200") == 1
        assert got.endswith(b"<closed>")


@pytest.mark.parametrize(
    ("sent", "status", "says"),
    [
        (b"no http at all\r\n\r\n", b"400", b"Invalid method"),
        (b"GET /x HTTP/1.1\r\nbad name: x\r\n\r\n", b"400", b"Invalid header token"),
        (b"\x16\x03\x01\x02\x00", b"400", b"http://"),
        (
            b"GET /x HTTP/1.1\r\na: " + b"x" * (http_connection.MAX_REQUEST_BYTES + 1),
            *(b"431", b"fewer headers"),
        ),
    ],
)
async def test_what_is_malformed_or_endless_is_refused_and_told_why(
    plane: Running, sent: bytes, status: bytes, says: bytes
) -> None:
    route_all(plane.topology)
    got = await talk(plane, sent)
    assert got.startswith(b"HTTP/1.1 " + status)
    assert says in got
    assert got.endswith(b"<closed>")


async def test_a_change_of_cells_is_seen_by_the_next_question(plane: Running) -> None:
    route_all(plane.topology)
    question = b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    assert b"x-cellway-cell: cell-1\r\n" in await talk(plane, question)
    plane.topology.cells.set_health("cell-1", healthy=False, actor="test")
    assert b"x-cellway-cell: !503:cell-down\r\n" in await talk(plane, question)


METHOD = "M" * 40
ODD_RULES = json.dumps(
    {
        "name": "r",
        "rules": [
            {"id": rule, "match": match, "action": "classify", "classify": {"type": "FIRST_CELL"}}
            for rule, match in (
                ("method", {"type": "method", "regexValue": f"^{METHOD}$"}),
                ("query", {"type": "query_string", "regexValue": r"^\C$"}),
            )
        ],
    }
)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"GET /x?\xff HTTP/1.1\r\n", b"query"),
        (METHOD.encode() + b" /x HTTP/1.1\r\n", b"method"),
        (b"GET /x HTTP/1.1\r\nx-cellway-method: " + METHOD.encode() + b"\r\n", b"method"),
        (b"POST /x HTTP/1.1\r\na: \xff\r\ncontent-length: 4\r\n", b"-"),
    ],
)
@pytest.mark.parametrize("step", [1, 3, 1000])
async def test_every_method_and_query_of_http2_is_read(
    plane: Running, line: bytes, rule: bytes, step: int
) -> None:
    plane.topology.rulesets.put("r", ODD_RULES, actor="test")
    plane.topology.rulesets.activate("r", 1, actor="test")
    body = b"GET " if b"content-length" in line else b""
    last = b"GET /x?1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    sent = with_secret(plane, line + b"host: a\r\n\r\n" + body)
    reader, writer = await asyncio.open_connection("127.0.0.1", plane.ports.classifier)
    for at in range(0, len(sent), step):
        writer.write(sent[at : at + step])
        await asyncio.sleep(0)
    first = await reader.readuntil(b"\r\n\r\n")
    assert (b"x-cellway-rule: %b\r\n" % rule) in first
    writer.write(with_secret(plane, last))
    assert b"x-cellway-rule: query\r\n" in await reader.read()
    writer.close()
