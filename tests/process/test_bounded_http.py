"""A listener with bounds answers what is within them, and refuses the rest in time."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from control_plane.process.embedded_server import embedded, run
from control_plane.process.http_limits import HttpLimits, OpenConnections
from control_plane.process.listening import bind, port_of
from tests.support.conditions import until
from tests.support.raw_http import RawConnection, RawResponse

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
LARGE = 8 << 20


class Listener:
    """A listener of an app that reads the body and answers with its size, and what it refused."""

    def __init__(self, port: int, refused: list[str], left: list[str]) -> None:
        self.refused = refused
        self.left = left
        self._address = ("127.0.0.1", port)

    def connect(self) -> RawConnection:
        return RawConnection(self._address)

    async def exchange(self, *pieces: bytes) -> RawResponse | None:
        """Send pieces over a connection of their own; return the response."""
        with self.connect() as connection:
            for piece in pieces:
                connection.send(piece)
            return await asyncio.to_thread(connection.read_response)

    async def code(self, *pieces: bytes) -> tuple[int, str]:
        """Send pieces; return the status and the problem's code of the response, which ends."""
        response = await self.exchange(*pieces)
        assert response is not None
        assert response.closes
        return response.status, json.loads(response.body)["code"]


@contextlib.asynccontextmanager
async def listening(**limits: Any) -> AsyncIterator[Listener]:
    refused: list[str] = []
    left: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                left.append(scope["path"])
                return
            size, more = size + len(message["body"]), message["more_body"]
        body = b"x" * LARGE if scope["path"] == "/large" else str(size).encode()
        length = str(len(body)).encode()
        headers = [(b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    sock = bind("127.0.0.1", 0)
    connections = OpenConnections(HttpLimits(**limits), refused.append)
    serving = asyncio.create_task(run(embedded(app, connections=connections), sock))
    try:
        yield Listener(port_of(sock), refused, left)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@pytest.mark.parametrize("begun", [b"", b"GET / HT", GET[:-2], GET + b"G"])
async def test_a_head_that_does_not_end_is_refused_in_time(begun: bytes) -> None:
    async with listening(head_s=0.1) as listener:
        with listener.connect() as connection:
            connection.send(begun)
            if begun.startswith(GET):
                assert await asyncio.to_thread(connection.read_response) is not None
            late = await asyncio.to_thread(connection.read_response)
        assert late is not None
        assert (late.status, listener.refused) == (408, ["head-timeout"])


async def test_a_body_that_does_not_end_is_refused_in_time_and_the_app_is_told() -> None:
    async with listening(body_s=0.1) as listener:
        assert await listener.code(POST, b"12345") == (408, "body-timeout")
        await until(lambda: listener.left == ["/"])


async def test_slow_pieces_within_the_time_are_one_request() -> None:
    async with listening() as listener:
        response = await listener.exchange(POST[:9], POST[9:], b"12345", b"67890")
        assert response is not None
        assert (response.status, response.body, listener.refused) == (200, b"10", [])


async def test_the_time_of_a_body_ends_with_it() -> None:
    async with listening(body_s=0.05, head_s=0.05) as listener:
        with listener.connect() as connection:
            for _ in range(2):
                answer = await asyncio.to_thread(connection.exchange, GET)
                assert answer is not None
                assert answer.status == 200
                await asyncio.sleep(0.1)
        assert listener.refused == []


@pytest.mark.parametrize(
    "head",
    [
        GET[:-2] + b"x: " + b"y" * 3000 + b"\r\n\r\n",
        GET[:-2] + b"x: " + b"y" * 3000,
        GET[:-2] + b"x: y\r\n" * 500 + b"\r\n",
        b"GET /" + b"y" * 3000,
    ],
)
async def test_a_head_that_is_too_large_is_refused(head: bytes) -> None:
    async with listening(head_bytes=2000) as listener:
        assert await listener.code(head) == (431, "head-too-large")
        assert listener.refused == ["head-too-large"]


async def test_a_large_body_counts_for_no_head() -> None:
    async with listening(head_bytes=2000) as listener:
        body = b"x" * 100_000
        request = POST.replace(b"10", b"100000") + body
        with listener.connect() as connection:
            for _ in range(2):
                answer = await asyncio.to_thread(connection.exchange, request)
                assert answer is not None
                assert answer.body == b"100000"


async def test_what_is_no_http_gets_a_problem_that_says_why() -> None:
    async with listening() as listener:
        assert await listener.code(b"\x16\x03\x01 hello\r\n\r\n") == (400, "malformed")
        answer = await listener.exchange(b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n")
        assert answer is not None
        assert "Invalid header token" in json.loads(answer.body)["detail"]


async def test_too_many_connections_are_refused_until_one_ends() -> None:
    async with listening(connections=2) as listener:
        with listener.connect() as first, listener.connect() as second:
            for connection in (first, second):
                assert await asyncio.to_thread(connection.exchange, GET) is not None
            assert await listener.code(b"") == (503, "too-many-connections")

        async def serves() -> bool:
            answer = await listener.exchange(GET)
            return answer is not None and answer.status == 200

        await until(serves)


async def test_requests_that_nobody_waits_for_are_not_piled_up() -> None:
    async with listening(pipelined=3) as listener:
        with listener.connect() as connection:
            connection.send(GET * 5000)
            await until(lambda: "pipelined" in listener.refused)


async def test_a_client_that_does_not_read_is_left() -> None:
    async with listening(write_s=0.1) as listener:
        with listener.connect() as connection:
            connection.send(GET.replace(b"/", b"/large", 1))
            await until(lambda: listener.refused == ["write-timeout"])
