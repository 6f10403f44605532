"""The combined log format, as Apache and nginx write it."""

from __future__ import annotations

import pytest

from control_plane.simulation.logs.combined import Combined, is_combined
from control_plane.simulation.logs.recorded import Recorded, Unreadable
from tests.simulation.rules import AGENT, REFERER, aspects_of

TIME = "[30/Nov/2026:03:12:00 +0000]"


def read(line: str) -> Recorded:
    return Combined(aspects_of(AGENT, REFERER), "default.example").read(line.encode("latin-1"))


@pytest.mark.parametrize(
    ("before", "host"),
    [
        ("192.0.2.7 - -", b"default.example"),
        ("2001:db8::1 - ann", b"default.example"),
        ("192.0.2.7 - ann smith", b"default.example"),
        ("www.example:443 192.0.2.7 - -", b"www.example"),
    ],
)
def test_the_request_of_a_line_is_read(before: str, host: bytes) -> None:
    line = f'{before} {TIME} "POST /a/b?c=d HTTP/1.1" 200 512 "-" "curl/8.5"\n'
    assert read(line) == Recorded("POST", b"/a/b", host, (("user-agent", b"curl/8.5"),))


def test_the_common_log_format_is_read_too() -> None:
    assert read(f'192.0.2.7 - - {TIME} "GET / HTTP/1.0" 200 -').target == b"/"


def test_escapes_are_undone_to_the_bytes_that_the_client_sent() -> None:
    line = f'- - - {TIME} "GET /\\xc3\\xa4\\"x HTTP/1.1" 200 0 "\\\\r" "a\\tb"'
    recorded = read(line)
    assert recorded.target == b'/\xc3\xa4"x'
    assert recorded.headers == (("referer", b"\\r"), ("user-agent", b"a\tb"))


def test_a_target_with_blanks_stays_whole() -> None:
    assert read(f'- - - {TIME} "GET /a b HTTP/1.1" 400 0 "-" "-"').target == b"/a b"


@pytest.mark.parametrize("request_line", ["-", "", "GET", "\\x16\\x03\\x01"])
def test_a_line_without_a_request_is_told(request_line: str) -> None:
    with pytest.raises(Unreadable, match="no request line"):
        read(f'- - - {TIME} "{request_line}" 400 0 "-" "-"')


@pytest.mark.parametrize("line", ["", "GET /", '{"method": "GET"}', "2026 INFO started [main] x"])
def test_other_lines_are_not_of_this_format(line: str) -> None:
    assert not is_combined(line.encode())
    with pytest.raises(Unreadable, match="combined"):
        read(line)
