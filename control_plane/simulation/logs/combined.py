"""Reads the combined log format of Apache and nginx, with or without the host before each line.

For example::

    192.0.2.7 - ann [30/Nov/2026:03:12:00 +0000] "GET /acme/app HTTP/1.1" 200 512 "-" "curl/8.5"

It has neither the host (but for ``vhost_combined``) nor cookies, so rules that look at these can't
be tried with it: ``host`` stands for the host of all lines.
"""

from __future__ import annotations

import re

from control_plane.simulation.logs.aspects import Aspects
from control_plane.simulation.logs.recorded import ABSENT, Recorded, Unreadable

_QUOTED = rb'"((?:[^"\\]|\\.)*)"'
_LINE = re.compile(
    rb'([^\["]*)\[[^\]]*\] ' + _QUOTED + rb"(?: \S+ \S+(?: " + _QUOTED + b" " + _QUOTED + b")?)?"
)
_VHOST = re.compile(rb"([^:\s]+):[0-9]+ ")
_REQUEST = re.compile(r"(\S+) (\S.*?)(?: HTTP/[0-9.]+)?", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "v": "\v", "f": "\f"}


def is_combined(line: bytes) -> bool:
    """Return whether a line is one of this format."""
    return _LINE.match(line) is not None


class Combined:
    """Reads lines of one log."""

    def __init__(self, aspects: Aspects, host: str) -> None:
        self._aspects = aspects
        self._host = host.encode("utf-8", "replace")
        self._sees_referer = aspects.sees_header("referer")
        self._sees_agent = aspects.sees_header("user-agent")

    def read(self, line: bytes) -> Recorded:
        """Return the request of a line; raise `Unreadable` if there is none."""
        match = _LINE.match(line)
        if match is None:
            raise Unreadable("it is not in the combined log format")
        before, request, referer, agent = match.groups()
        parts = _REQUEST.fullmatch(_text(request))
        if parts is None:
            raise Unreadable("it has no request line, so the client sent none")
        vhost = _VHOST.match(before)
        headers: list[tuple[str, bytes]] = []
        if self._sees_referer:
            headers += self._header("referer", referer)
        if self._sees_agent:
            headers += self._header("user-agent", agent)
        target = self._aspects.target(parts[2]).encode("latin-1", "replace")
        return Recorded(parts[1], target, vhost[1] if vhost else self._host, tuple(headers))

    def _header(self, name: str, raw: bytes | None) -> list[tuple[str, bytes]]:
        value = "" if raw is None else _text(raw)
        header = None if value in ABSENT else self._aspects.header(name, value)
        return [] if header is None else [header]


def _text(raw: bytes) -> str:
    """Return what was quoted, its escapes undone: a character for each byte."""
    text = raw.decode("latin-1")
    return _ESCAPE.sub(_unescaped, text) if "\\" in text else text


def _unescaped(match: re.Match[str]) -> str:
    digits, char = match.groups()
    return chr(int(digits, 16)) if digits else _CONTROLS.get(char, char)
