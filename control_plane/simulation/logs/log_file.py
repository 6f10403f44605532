"""Opens a log of any format, plain or compressed, and yields what it tells of requests."""

from __future__ import annotations

import enum
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from control_plane.simulation.logs import har
from control_plane.simulation.logs.aspects import Aspects
from control_plane.simulation.logs.combined import Combined, is_combined
from control_plane.simulation.logs.envoy_json import EnvoyJson
from control_plane.simulation.logs.recorded import Recorded, Unreadable

MAX_LINE_BYTES = 1 << 20
"""A longer line is cut off, and then it can't be read as JSON."""
PEEK_BYTES = 64 << 10
"""So much of a file tells its format."""
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_DAMAGE = (OSError, EOFError, zlib.error)
"""What reading a compressed file may raise."""


class LogFormat(enum.StrEnum):
    """The formats of recorded traffic."""

    ENVOY_JSON = "envoy-json"
    COMBINED = "combined"
    HAR = "har"


class BadLog(ValueError):
    """The log as a whole can't be read, or not to its end; the message says why."""


class Readable(Protocol):
    """What can be read from, such as a file or a pipe."""

    def read(self, size: int, /) -> bytes:
        """Return up to so many bytes; none at the end."""


class Reader(Protocol):
    """Reads the requests of one log."""

    def read(self, line: bytes) -> Recorded:
        """Return the request of a line or an entry; raise `Unreadable` if there is none."""


class TooLong(BadLog):
    """The log is longer than it may be."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a log may be, unpacked. A compressed one can hide a thousand times its size."""

    lines: int
    size: int
    """Bytes."""

    def exceeded(self) -> TooLong:
        """Return the error for a log that is longer."""
        return TooLong(f"it has more than {self.lines} lines, or {self.size} bytes unpacked")


class LogFile:
    """A log that is read once, from its beginning to its end."""

    def __init__(
        self,
        source: Readable,
        log_format: LogFormat | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        """Find out the format, if it isn't given.

        Args:
            source: The log; it may be compressed with gzip.
            log_format: Its format; None: to be told from its content.
            bounds: How long it may be; None: as long as it likes.

        Raises:
            BadLog: Its format can't be told.
        """
        self._bounds = bounds
        try:
            self._source, start = _begun(source, bounds)
            if start.startswith(_GZIP):
                self._source, start = _begun(gzip.GzipFile(fileobj=self._source), bounds)
        except _DAMAGE as error:
            raise BadLog(_reason(error)) from error
        self.format = log_format or _format_of(start)
        self.lines = 0
        """How many lines, or entries, have been read."""

    def reader(self, aspects: Aspects, host: str) -> Reader:
        """Return a reader of the log's lines.

        Args:
            aspects: What the rules look at.
            host: The host of requests of which the log tells none.
        """
        if self.format is LogFormat.HAR:
            return har.Har(aspects, host)
        if self.format is LogFormat.COMBINED:
            return Combined(aspects, host)
        return EnvoyJson(aspects, host)

    def __iter__(self) -> Iterator[bytes]:
        """Yield each line, or each entry of a HAR; empty lines count and are left out.

        Raises:
            BadLog: The log is damaged, or cut off.
            TooLong: It is longer than its bounds.
        """
        try:
            if self.format is LogFormat.HAR:
                for entry in har.entries(self._source):
                    self._count()
                    yield entry
            else:
                yield from self._lines()
        except (*_DAMAGE, Unreadable) as error:
            raise BadLog(f"after {self.lines} lines: {_reason(error)}") from error

    def _count(self) -> None:
        self.lines += 1
        if self._bounds is not None and self.lines > self._bounds.lines:
            raise self._bounds.exceeded()

    def _lines(self) -> Iterator[bytes]:
        readline = self._source.readline
        while line := readline(MAX_LINE_BYTES):
            self._count()
            if line == b"\n" or not line.strip():
                continue
            if len(line) >= MAX_LINE_BYTES and not line.endswith(b"\n"):
                while (rest := readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                    continue
            yield line.removeprefix(_BOM) if self.lines == 1 else line


class _Begun(io.RawIOBase):
    """A file whose beginning has been read already, and is read again."""

    def __init__(self, start: bytes, rest: Readable, bounds: Bounds | None) -> None:
        self._start = start
        self._rest = rest
        self._bounds = bounds
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece = self._start[: len(buffer)] or self._rest.read(len(buffer))
        self._start = self._start[len(piece) :]
        buffer[: len(piece)] = piece
        self._size += len(piece)
        if self._bounds is not None and self._size > self._bounds.size:
            raise self._bounds.exceeded()
        return len(piece)


def _begun(source: Readable, bounds: Bounds | None) -> tuple[io.BufferedReader, bytes]:
    """Return a file to be read from its beginning, and that beginning. A pipe gives it in parts."""
    start = b""
    while len(start) < PEEK_BYTES and (piece := source.read(PEEK_BYTES - len(start))):
        start += piece
    return io.BufferedReader(_Begun(start, source, bounds), PEEK_BYTES), start


def _reason(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "the compressed log is cut off"
    if isinstance(error, zlib.error | gzip.BadGzipFile):
        return f"the compressed log is damaged: {error}"
    return str(error)


def _format_of(start: bytes) -> LogFormat:
    """Return the format of a log that begins so; an empty log may have any."""
    text = start.removeprefix(_BOM).lstrip()
    if har.is_har(text):
        return LogFormat.HAR
    if not text or text.startswith(b"{"):
        return LogFormat.ENVOY_JSON
    # The last line may be cut off, and the first ones may be a note.
    if any(is_combined(line) for line in text.splitlines()[:20]):
        return LogFormat.COMBINED
    shown = text.splitlines()[0][:80].decode("utf-8", "replace")
    known = ", ".join(LogFormat)
    raise BadLog(f"its format can't be told from {shown!r}: name it (--format), one of {known}")
