"""Responses are written in order, one at a time, and what is too large is not written at all."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from control_plane.names import CDS
from control_plane.xds.resource import Resource
from control_plane.xds.server.sender import ResponseTooLarge, Sender
from control_plane.xds.session.response import Response


class SlowCall:
    """A call that takes a response when it is told to."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.may_write = asyncio.Event()

    async def write(self, payload: bytes) -> None:
        await self.may_write.wait()
        self.written.append(payload)


class Sending:
    """A sender and what it tells."""

    def __init__(self, max_bytes: int = 100) -> None:
        self.call: Any = SlowCall()
        self.sent_bytes: list[int] = []
        self.pushed_s: list[float] = []
        self.sender = Sender(
            self.call,
            lambda response: response.nonce.encode(),
            max_bytes,
            spawn=self._spawn,
            count_sent=self.sent_bytes.append,
            on_pushed=self.pushed_s.append,
        )

    @staticmethod
    def _spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.create_task(work)


def response(nonce: str) -> Response:
    return Response(CDS, nonce, "v", (Resource(CDS, "a", "1", b"1234567"),))


async def test_responses_go_out_in_order_by_one_task_that_ends_with_them() -> None:
    sending = Sending()
    sending.sender.send([response("1"), response("2")])
    task = sending.sender.task
    sending.sender.send([response("3")])
    assert sending.sender.task is task
    sending.call.may_write.set()
    await sending.sender.empty()
    assert sending.call.written == [b"1", b"2", b"3"]
    assert sending.sender.task is None
    assert sending.sent_bytes == [7, 7, 7]
    assert sending.pushed_s == [], "none of them came of a new snapshot"


async def test_a_push_is_timed_from_the_snapshot_to_the_last_of_its_responses() -> None:
    sending = Sending()
    sending.call.may_write.set()
    sending.sender.send([], 0.0)
    assert sending.sender.task is None, "there is nothing to send"
    sending.sender.send([response("1"), response("2")], 0.0)
    await sending.sender.empty()
    assert len(sending.pushed_s) == 1


async def test_a_stream_that_is_stopped_ends_the_write_that_has_begun_and_no_other() -> None:
    sending = Sending()
    sending.sender.send([response("1"), response("2")])
    await asyncio.sleep(0)
    stopping = asyncio.create_task(sending.sender.stop())
    await asyncio.sleep(0)
    sending.call.may_write.set()
    await stopping
    assert sending.call.written == [b"1"]


async def test_a_response_over_the_limit_fails_the_task_and_is_not_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sending = Sending(max_bytes=3)
    sending.sender.node_id = "n1"
    sending.call.may_write.set()
    sending.sender.send([response("1"), response("long"), response("2")])
    task = sending.sender.task
    assert task is not None
    with pytest.raises(ResponseTooLarge):
        await task
    assert (sending.call.written, sending.sent_bytes) == ([b"1"], [7])
    assert "n1: a response of 4 bytes is too large" in caplog.text
