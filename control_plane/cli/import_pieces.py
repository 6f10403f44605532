"""The lines of a file of claims, in pieces that the API takes in one request each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from control_plane.names import MAX_LINE_BYTES

PIECE_LINES = 5000
PIECE_BYTES = 1_500_000
"""Lines and bytes of one request, which is one transaction: less than the API takes at most."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some lines of a file that follow each other."""

    first: int
    """The number of the first line; a file's first line is 1."""
    lines: list[str]
    """The lines without their ends. One that is no text is empty here, so that the numbers of the
    others stay right."""
    broken: list[tuple[int, str]]
    """Number and reason of each line that is no text."""
    size: int
    """Bytes in the file, ends of lines included."""


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    size: int
    broken: str | None = None
    """Why the line is no text; then ``text`` is empty."""


def pieces(file: BinaryIO, lines_before: int) -> Iterator[Piece]:
    """Yield a file's lines from where it stands, in pieces.

    Args:
        lines_before: how many lines come before that place.
    """
    lines: list[_Line] = []
    size = 0
    for line in _lines(file):
        if lines and (len(lines) == PIECE_LINES or size + line.size > PIECE_BYTES):
            yield _piece(lines_before + 1, lines, size)
            lines_before, lines, size = lines_before + len(lines), [], 0
        lines.append(line)
        size += line.size
    if lines:
        yield _piece(lines_before + 1, lines, size)


def _piece(first: int, lines: list[_Line], size: int) -> Piece:
    broken = [(number, line.broken) for number, line in enumerate(lines, first) if line.broken]
    return Piece(first, [line.text for line in lines], broken, size)


def _lines(file: BinaryIO) -> Iterator[_Line]:
    """Yield each line; of one that is too long only a part is in memory at once."""
    while raw := file.readline(MAX_LINE_BYTES + 1):
        size = len(raw)
        if size > MAX_LINE_BYTES and not raw.endswith(b"\n"):
            while (more := file.readline(MAX_LINE_BYTES)) and not more.endswith(b"\n"):
                size += len(more)
            yield _Line("", size + len(more), f"is longer than {MAX_LINE_BYTES} bytes")
            continue
        try:
            yield _Line(raw.decode().rstrip("\r\n"), size)
        except UnicodeDecodeError as error:
            yield _Line("", size, f"is not UTF-8: {error}")
