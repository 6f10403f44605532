"""Logs of every format are told by their content, and damage is told with its place."""

from __future__ import annotations

import gzip
import io
import os
import threading
from unittest.mock import patch

import pytest

from control_plane.simulation.logs import log_file
from control_plane.simulation.logs.log_file import BadLog, LogFile, LogFormat
from tests.simulation.rules import aspects_of

ENVOY = b'{"method": "GET", "path": "/a"}\n\n{"method": "GET", "path": "/b"}\n'
COMBINED = b'- - - [30/Nov/2026:03:12:00 +0000] "GET /a HTTP/1.1" 200 0 "-" "-"\n'
HAR = b'\n{ "log" : {"entries": [{"request": {"method": "GET", "url": "/a", "headers": []}}]}}'


def paths(log: LogFile) -> list[bytes]:
    reader = log.reader(aspects_of(), "h")
    return [reader.read(line).target for line in log]


@pytest.mark.parametrize(
    ("content", "log_format", "found"),
    [
        (ENVOY, LogFormat.ENVOY_JSON, [b"/a", b"/b"]),
        (b"\xef\xbb\xbf" + ENVOY, LogFormat.ENVOY_JSON, [b"/a", b"/b"]),
        (COMBINED, LogFormat.COMBINED, [b"/a"]),
        (HAR, LogFormat.HAR, [b"/a"]),
        (b"", LogFormat.ENVOY_JSON, []),
    ],
)
def test_the_content_tells_the_format_compressed_or_not(
    content: bytes, log_format: LogFormat, found: list[bytes]
) -> None:
    for stored in (content, gzip.compress(content)):
        log = LogFile(io.BytesIO(stored))
        assert (log.format, paths(log)) == (log_format, found)


def test_empty_lines_count_for_the_numbers_of_lines() -> None:
    log = LogFile(io.BytesIO(ENVOY))
    assert [log.lines for _ in log] == [1, 3]


def test_a_note_before_the_log_does_not_hide_its_format() -> None:
    assert LogFile(io.BytesIO(b"# rotated\n" + COMBINED)).format is LogFormat.COMBINED


def test_a_named_format_is_taken() -> None:
    assert LogFile(io.BytesIO(b"???"), LogFormat.COMBINED).format is LogFormat.COMBINED


def test_what_has_no_known_format_is_told() -> None:
    with pytest.raises(BadLog, match="'hello': name it"):
        LogFile(io.BytesIO(b"hello\n"))


@pytest.mark.parametrize("cut", [5, -10])
def test_a_compressed_log_that_is_cut_off_is_told(cut: int) -> None:
    with pytest.raises(BadLog, match="cut off"):
        list(LogFile(io.BytesIO(gzip.compress(b"{" + os.urandom(300_000).hex().encode())[:cut])))


def test_a_compressed_log_that_is_damaged_is_told_with_the_line() -> None:
    lines = b"".join(b'{"path": "/%s"}\n' % os.urandom(40).hex().encode() for _ in range(3000))
    stored = bytearray(gzip.compress(lines))
    stored[-2000:-1900] = bytes(100)
    with pytest.raises(BadLog, match=r"after [1-9][0-9]* lines: the compressed log is damaged"):
        list(LogFile(io.BytesIO(bytes(stored))))


def test_a_long_line_is_cut_off_and_the_next_one_is_whole() -> None:
    with patch.object(log_file, "MAX_LINE_BYTES", 50):
        lines = list(LogFile(io.BytesIO(b"{" + b"x" * 170 + b"\n" + ENVOY)))
    assert [len(lines[0]), *lines[1:]] == [50, *ENVOY.replace(b"\n\n", b"\n").splitlines(True)]


def test_a_pipe_that_gives_little_at_a_time_is_read_whole() -> None:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            for at in range(0, len(COMBINED), 7):
                pipe.write(COMBINED[at : at + 7])

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(reading, "rb") as pipe:
        assert paths(LogFile(pipe)) == [b"/a"]
    writer.join()
