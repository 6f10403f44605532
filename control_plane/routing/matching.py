"""Whether a rule's matches hold for a request, and what they capture of it."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence

from control_plane.routing.model import Request, parse_cookies
from control_plane.routing.rules.ruleset import Match, Subject


class Subjects:
    """The parts of one request that matches look at, each taken apart when first asked for."""

    __slots__ = ("_cookies", "_headers", "path", "query", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.path, _, self.query = request.path.partition(b"?")
        self._headers: dict[str, bytes] | None = None
        self._cookies: tuple[tuple[bytes, bytes], ...] | None = None

    @property
    def headers(self) -> dict[str, bytes]:
        """Values by name; see `Request.joined_headers`."""
        if self._headers is None:
            self._headers = self.request.joined_headers()
        return self._headers

    @property
    def cookies(self) -> tuple[tuple[bytes, bytes], ...]:
        """Names and values, in order."""
        if self._cookies is None:
            self._cookies = parse_cookies(self.headers.get("cookie", b""))
        return self._cookies


def bare_host(authority: bytes) -> bytes:
    """The host of an authority: lower-case, without port and without a trailing dot."""
    host = authority
    if host.startswith(b"["):
        host = host.partition(b"]")[0] + b"]"
    else:
        host = host.rpartition(b":")[0] if host.rpartition(b":")[2].isdigit() else host
    return host.lower().removesuffix(b".")


def match_failure(match: Match, subjects: Subjects, values: dict[str, str]) -> str | None:
    """None if the match holds (its captures go to ``values``), else why it does not."""
    captured = _search(match, subjects)
    if match.invert:
        return None if captured is None else f"{match.subject} matches and must not"
    if captured is None:
        name = f" {match.name.pattern}" if match.name else ""
        what = f" {match.value.pattern}" if match.value else ""
        return f"no {match.subject}{name} matches{what}"
    decoded = match.subject is Subject.PATH
    for name, raw in captured.items():
        values[name] = _path_text(raw) if decoded else raw.decode("utf-8", "replace")
    return None


def _search(match: Match, subjects: Subjects) -> dict[str, bytes] | None:
    value = match.value
    if match.subject is Subject.HEADER:
        if len(match.literal_names) == 1:
            found = _header(match.literal_names[0], subjects)
            if found is None or value is None:
                return None if found is None else {}
            return value.captures(found)
        # Proxies reorder headers, so their order of appearance can't decide.
        names = match.literal_names or tuple(sorted(subjects.headers))
        present = [(n.encode(), subjects.headers[n]) for n in names if n in subjects.headers]
        return _search_named(match, present) if present else None
    if match.subject is Subject.COOKIE:
        return _search_named(match, subjects.cookies)
    assert value is not None
    if match.subject is Subject.PATH:
        return value.captures(subjects.path)
    if match.subject is Subject.HOST:
        return value.captures(bare_host(subjects.request.authority))
    if match.subject is Subject.QUERY:
        return value.captures(subjects.query)
    return value.captures(subjects.request.method.encode())


def _header(name: str, subjects: Subjects) -> bytes | None:
    return subjects.request.authority if name == "host" else subjects.headers.get(name)


def _search_named(match: Match, pairs: Sequence[tuple[bytes, bytes]]) -> dict[str, bytes] | None:
    """The first pair, in order, whose name and value both match."""
    assert match.name is not None
    for name, text in pairs:
        captured = match.name.captures(name)
        if captured is None:
            continue
        if match.value is None:
            return captured
        more = match.value.captures(text)
        if more is not None:
            return {**captured, **more}
    return None


def _path_text(raw: bytes) -> str:
    """A captured part of the path as the cell will read it: percent-decoded once."""
    if b"%" in raw:
        plain = urllib.parse.unquote_to_bytes(raw)
        try:
            text = plain.decode("utf-8")
        except UnicodeDecodeError:
            text = ""
        if text and text.isprintable():
            return text
    return raw.decode("utf-8", "replace")
