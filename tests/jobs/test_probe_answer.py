"""Whatever an endpoint sends, reading it ends, within bounds and with a result or a known error."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from control_plane.jobs.probe_answer import (
    MAX_BYTES,
    MAX_HEAD_BYTES,
    MAX_PIECE_BYTES,
    AnswerTooLarge,
    ProbeAnswer,
)

PARTS = (
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 103 X\r\n\r\n",
    b"HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    b"HTTP/1.0 999 \xff\r\n",
    b"HTTP/1.1 204 X\r\n\r\n",
    b"content-length: 3\r\n",
    b"content-length: -1\r\n",
    b"content-length: " + b"9" * 5000 + b"\r\n",
    b"transfer-encoding: chunked\r\n",
    b"transfer-encoding: gzip, chunked\r\n",
    b"3\r\nabc\r\n",
    b"1;" + b"x" * 300 + b"\r\na\r\n",
    b"ffffffffffffffffffff\r\n",
    b"0\r\n\r\n",
    b"0\r\na: b\r\n\r\n",
    b"a: \x00\r\n",
    b" folded\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"a" * 200,
    b"\x16\x03\x01\x02\x00",
)
"""Pieces of HTTP, right and wrong, from which answers are put together."""
answers = st.lists(st.sampled_from(PARTS) | st.binary(max_size=40), max_size=12).map(b"".join)
KNOWN = (h11.RemoteProtocolError, AnswerTooLarge)
"""The errors that a bad answer may raise."""


def read(data: bytes, piece_bytes: int = MAX_PIECE_BYTES) -> tuple[int, bool]:
    """Read an answer in pieces; return its status, and whether it ended before the connection."""
    answer = ProbeAnswer("cell.example", "/ok")
    for start in range(0, len(data), piece_bytes):
        if answer.feed(data[start : start + piece_bytes]):
            return answer.status, True
    assert answer.feed(b""), "the end of the connection is the end of the answer"
    return answer.status, False


def outcome(data: bytes, piece_bytes: int) -> tuple[int, bool] | None:
    """Return what reading gives; None for an answer that is none."""
    try:
        return read(data, piece_bytes)
    except KNOWN:
        return None


@given(answers, st.integers(1, 300))
@example(b"a" * 2000, 7)
def test_any_bytes_are_an_answer_or_a_known_error_however_they_are_cut(
    data: bytes, piece_bytes: int
) -> None:
    assert outcome(data, piece_bytes) == outcome(data, MAX_PIECE_BYTES)


@pytest.mark.parametrize(
    "endless",
    [b"a", b"a:b\r\n", b"HTTP/1.1 103 X\r\n\r\n", b"\r\n", b"\x00"],
)
def test_an_endless_answer_is_given_up(endless: bytes) -> None:
    head = b"" if endless.startswith(b"HTTP") else b"HTTP/1.1 200 OK\r\n"
    data = head + endless * (2 * MAX_BYTES // len(endless))
    with pytest.raises(KNOWN):
        read(data)


@pytest.mark.parametrize("chunk", [b"1\r\na\r\n", b"400\r\n" + b"a" * 1024 + b"\r\n"])
def test_an_endless_body_is_given_up(chunk: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    with pytest.raises(AnswerTooLarge):
        read(head + chunk * (2 * MAX_BYTES // len(chunk)))


def test_200_000_bytes_without_a_newline_are_given_up_after_a_few() -> None:
    answer, fed = ProbeAnswer("cell.example", "/ok"), 0
    with pytest.raises(h11.RemoteProtocolError):
        while fed < 200_000:
            fed += MAX_PIECE_BYTES
            answer.feed(b"a" * MAX_PIECE_BYTES)
    assert fed <= MAX_HEAD_BYTES + 2 * MAX_PIECE_BYTES


@pytest.mark.parametrize(("host", "path"), [("a\r\nb", "/ok"), ("a", "/o k"), ("a", "/\n")])
def test_a_request_that_can_t_be_made_is_refused(host: str, path: str) -> None:
    with pytest.raises(h11.LocalProtocolError):
        ProbeAnswer(host, path)
