"""A log that is still being written is read in whole lines, until the time is up."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from control_plane.cli.live_log import LiveLog

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    # A test may have closed the other end.
    with contextlib.suppress(OSError):
        os.close(writing)


def test_lines_come_whole_and_in_pieces_of_any_size(pipe: Pipe) -> None:
    reading, writing = pipe
    log = LiveLog(reading, 60)
    os.write(writing, b"one\ntwo\nth")
    assert log.read(100) == b"one\ntwo\n"
    os.write(writing, b"ree\nfour")
    os.close(writing)
    pieces: list[bytes] = []
    while piece := log.read(3):
        pieces.append(piece)
    assert b"".join(pieces) == b"three\nfour"
    assert max(map(len, pieces)) == 3


def test_a_line_that_is_not_whole_when_the_time_is_up_does_not_count(pipe: Pipe) -> None:
    reading, writing = pipe
    times = iter([0.0, 0.0, 5.0])
    log = LiveLog(reading, 5, clock=lambda: next(times))
    os.write(writing, b"one\ntwo")
    assert [log.read(100), log.read(100)] == [b"one\n", b""]


def test_without_a_line_the_time_ends_the_log(pipe: Pipe) -> None:
    assert LiveLog(pipe[0], 0.01).read(100) == b""
