"""Reads HAR (HTTP Archive 1.2), an entry at a time: a browser's recording can be very long.

A HAR is one JSON document, in which responses stand beside requests, with their bodies. Read at
once, it takes ten times its size. So only one entry is held.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from io import BufferedReader
from typing import Any

from control_plane.routing.explain import InvalidURL, split_url
from control_plane.simulation.logs.aspects import Aspects
from control_plane.simulation.logs.recorded import Recorded, Unreadable

PIECE_BYTES = 1 << 20
MAX_ENTRY_CHARS = 64 << 20
"""A longer entry ends the reading."""
_START = re.compile(rb'\{\s*"log"\s*:\s*\{')
_ENTRIES = re.compile(r'(?<!\\)"entries"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")
_DECODER = json.JSONDecoder()
_END = object()


def is_har(start: bytes) -> bool:
    """Return whether a file that begins so, after its blanks, is a HAR."""
    return _START.match(start) is not None


class Har:
    """Reads entries of one HAR."""

    def __init__(self, aspects: Aspects, host: str) -> None:
        self._aspects = aspects
        self._host = host

    def read(self, entry: bytes) -> Recorded:
        """Return the request of an entry's JSON; raise `Unreadable` if there is none."""
        try:
            document = json.loads(entry)
            request = document["request"]
            method, url, headers = request["method"], request["url"], request.get("headers", [])
            pairs = [(str(one["name"]).lower(), str(one["value"])) for one in headers]
            host, target = split_url(str(url).partition("#")[0])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            why = error if isinstance(error, InvalidURL) else f"no request: {error!r}"
            raise Unreadable(f"its entry is not readable: {why}") from error
        seen = [self._aspects.header(name, value) for name, value in pairs if name[:1] != ":"]
        return Recorded(
            str(method),
            self._aspects.target(target).encode("utf-8", "replace"),
            (host if "://" in str(url) else self._host).encode("utf-8", "replace"),
            _one_cookie([one for one in seen if one is not None]),
        )


def _one_cookie(headers: list[tuple[str, bytes]]) -> tuple[tuple[str, bytes], ...]:
    """Join the cookie headers that HTTP/2 allows, as the edge does."""
    cookies = [value for name, value in headers if name == "cookie"]
    if len(cookies) < 2:
        return tuple(headers)
    others = [header for header in headers if header[0] != "cookie"]
    return (*others, ("cookie", b"; ".join(cookies)))


def entries(source: BufferedReader) -> Iterator[bytes]:
    """Yield the request of each entry of a HAR, in JSON.

    Raises:
        Unreadable: The document is no HAR, or it ends within an entry.
    """
    buffer = _Buffer(source)
    while (found := _ENTRIES.search(buffer.text)) is None:
        if len(buffer.text) > MAX_ENTRY_CHARS or not buffer.more():
            raise Unreadable("it has no entries, so it is no HAR")
    buffer.at = found.end()
    while (entry := _next_entry(buffer)) is not _END:
        request = entry.get("request") if isinstance(entry, dict) else None
        yield json.dumps({"request": request}).encode()


def _next_entry(buffer: _Buffer) -> Any:
    """Return the next entry; `_END` after the last one."""
    while True:
        between = _BETWEEN.match(buffer.text, buffer.at)
        buffer.at = between.end() if between else buffer.at
        if buffer.text.startswith("]", buffer.at):
            return _END
        try:
            entry, buffer.at = _DECODER.raw_decode(buffer.text, buffer.at)
        except (ValueError, RecursionError) as error:
            if len(buffer.text) - buffer.at > MAX_ENTRY_CHARS:
                text = f"an entry has more than {MAX_ENTRY_CHARS} characters"
                raise Unreadable(text) from error
            if not buffer.more():
                raise Unreadable(f"it ends within an entry, or is no JSON: {error}") from error
            continue
        return entry


class _Buffer:
    """Text of a file, of which what comes before ``at`` is forgotten when more is read."""

    def __init__(self, source: BufferedReader) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.text = ""
        self.at = 0

    def more(self) -> bool:
        """Read more; return whether there was any."""
        held = self.text[self.at :]
        # As much again: an entry that takes many pieces is then tried few times.
        piece = self._source.read(max(PIECE_BYTES, len(held)))
        self.text, self.at = held + self._decoder.decode(piece), 0
        return bool(piece)
