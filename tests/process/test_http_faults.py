"""A person who sends what is no HTTP/1.1 request reads why, and what to send instead."""

from __future__ import annotations

import json

import httptools
import pytest

from control_plane.process.http_faults import fault_of, problem_response


class Parts:
    """Takes the parts of a request as our servers do."""

    def on_url(self, url: bytes) -> None:
        path: bytes = httptools.parse_url(url).path
        path.decode("ascii")


def fault(data: bytes) -> str:
    try:
        httptools.HttpRequestParser(Parts()).feed_data(data)
    except httptools.HttpParserError as error:
        return fault_of(data, error)
    raise AssertionError(data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x16\x03\x01\x02\x00\x01", "use http:// instead of https://"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "have the client use HTTP/1.1"),
        (b"hello\r\n\r\n", "Invalid method"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", "Invalid header token"),
        (b"GET http:// HTTP/1.1\r\n\r\n", "percent-encode"),
        (b"GET /\xe4 HTTP/1.1\r\n\r\n", "percent-encode"),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", "Content-Length"),
        (b"GET / HTTP/9.9\r\n\r\n", "Send HTTP/1.1"),
    ],
)
def test_a_fault_says_what_is_wrong_and_what_to_send(data: bytes, says: str) -> None:
    text = fault(data)
    assert says in text
    assert len(text) < 150


def test_without_an_error_the_fault_still_says_what_to_send() -> None:
    assert fault_of(b"", None) == "this is no HTTP/1.1 request. Send HTTP/1.1."


@pytest.mark.parametrize(("status", "may_repeat"), [(400, False), (503, True)])
def test_a_problem_is_a_whole_response_that_ends_the_connection(
    status: int, may_repeat: bool
) -> None:
    head, _, body = problem_response(status, "why", "word").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-length: %d\r\n" % len(body) in head
    assert b"connection: close" in head
    assert b"server: cellway" in head
    assert (b"retry-after" in head) == may_repeat
    document = json.loads(body)
    assert (document["status"], document["detail"], document["code"]) == (status, "why", "word")
