"""A noisy neighbour makes a figure worse, and does not end the benchmark."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count as numbers

import pytest

from bench.load import Load, answers_but_2xx, lost_requests, send

GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BAD = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy"
LOST = b""
WRK = """
  1200 requests in 1.00s, 100KB read
  Socket errors: connect 0, read 1, write 2, timeout 3
  Non-2xx or 3xx responses: 120
Requests/sec:   1200.00
"""


@contextmanager
def server(answer: Callable[[int], bytes]) -> Iterator[int]:
    """Answer the n-th request with ``answer(n)``; nothing means that the connection is lost."""
    loop = asyncio.new_event_loop()
    number = numbers()
    started: list[int] = []
    ready = threading.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                if not (data := answer(next(number))):
                    return
                writer.write(data)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def main() -> None:
        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        started.append(listening.sockets[0].getsockname()[1])
        ready.set()
        await stop.wait()
        listening.close()

    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    ready.wait()
    try:
        yield started[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def test_all_is_well_on_a_quiet_machine() -> None:
    with server(lambda _: GOOD) as port:
        sent = send(Load(port), 0.3)
    assert sent.failed == 0
    assert sent.per_second > 0


@pytest.mark.parametrize("other", [BAD, LOST], ids=["503", "lost"])
def test_what_fails_is_a_share_and_the_rest_counts(other: bytes) -> None:
    with server(lambda number: other if number % 10 == 0 else GOOD) as port:
        sent = send(Load(port), 0.5)
    assert 0.02 < sent.failed < 0.3
    assert sent.per_second > 0


def test_if_most_requests_fail_there_is_no_figure() -> None:
    with (
        server(lambda number: GOOD if number % 10 == 0 else BAD) as port,
        pytest.raises(RuntimeError, match=r"(?s)requests failed: .*(503|Non-2xx)"),
    ):
        send(Load(port), 0.3)


def test_the_words_of_wrk_are_read() -> None:
    assert (answers_but_2xx(WRK), lost_requests(WRK)) == (120, 6)
    assert (answers_but_2xx(""), lost_requests("")) == (0, 0)
