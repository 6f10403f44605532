"""Whether a rule's matches hold for a request, and what they capture of it."""

from __future__ import annotations

import unicodedata
import urllib.parse
from collections.abc import Sequence

from control_plane.routing.admission.headers import UNSEEN_BY_RULES
from control_plane.routing.model import Request
from control_plane.routing.rules.ruleset import Match, Subject

_ENCODED = frozenset({Subject.PATH, Subject.QUERY})
"""What is percent-encoded: a URL holds some ASCII characters only."""


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
        """Header values by name; see `join_headers`."""
        if self._headers is None:
            self._headers = join_headers(self.request)
        return self._headers

    @property
    def cookies(self) -> tuple[tuple[bytes, bytes], ...]:
        """Names and values of the cookies, in order."""
        if self._cookies is None:
            self._cookies = parse_cookies(self.headers.get("cookie", b""))
        return self._cookies


def join_headers(request: Request) -> dict[str, bytes]:
    """Return header values by name; those of repeated headers are joined with ",", as in Envoy.

    That holds for Cookie, too, of which HTTP/1.1 allows one (RFC 6265 section 5.4); the several
    of HTTP/2 are one, joined with "; ", by the time that anything is matched. Headers that no rule
    sees (`UNSEEN_BY_RULES`) are left out.
    """
    joined: dict[str, bytes] = {}
    for name, value in request.headers:
        if name not in UNSEEN_BY_RULES:
            joined[name] = joined[name] + b"," + value if name in joined else value
    return joined


def parse_cookies(header: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Split a Cookie header into (name, value) pairs, in order (RFC 6265 section 5.4 reversed).

    Blanks around names and values are trimmed; a piece without "=" is no cookie; quotes stay.
    """
    pairs: list[tuple[bytes, bytes]] = []
    for piece in header.split(b";"):
        name, equals, value = piece.partition(b"=")
        if equals:
            pairs.append((name.strip(b" \t"), value.strip(b" \t")))
    return tuple(pairs)


def bare_host(authority: bytes) -> bytes:
    """Return the host of an authority: lower-case, without port and without a trailing dot."""
    host = authority
    if host.startswith(b"["):
        host = host.partition(b"]")[0] + b"]"
    else:
        name, colon, port = host.rpartition(b":")
        host = name if colon and port.isdigit() else host
    return host.lower().removesuffix(b".")


def match_failure(match: Match, subjects: Subjects, values: dict[str, str]) -> str | None:
    """Return why the match does not hold; None if it does, and its captures go to ``values``."""
    captured = _search(match, subjects)
    if match.invert:
        return None if captured is None else f"{match.subject} matches and must not"
    if captured is None:
        name = f" {match.name.pattern}" if match.name else ""
        what = f" {match.value.pattern}" if match.value else ""
        return f"no {match.subject}{name} matches{what}"
    if match.subject is Subject.QUERY:
        # A cell's framework reads "+" in a query as a blank.
        captured = {name: raw.replace(b"+", b" ") for name, raw in captured.items()}
    encoded = match.subject in _ENCODED
    for name, raw in captured.items():
        values[name] = _url_text(raw) if encoded else raw.decode("utf-8", "replace")
    return None


def _search(match: Match, subjects: Subjects) -> dict[str, bytes] | None:
    """Return what the match captures; None if it does not match."""
    value = match.value
    if match.subject is Subject.HEADER:
        if len(match.literal_names) != 1:
            return _search_headers(match, subjects)
        header = _header(match.literal_names[0], subjects)
        if header is None or value is None:
            return None if header is None else {}
        return value.captures(header)
    if match.subject is Subject.COOKIE:
        return _search_pairs(match, subjects.cookies)
    assert value is not None
    if match.subject is Subject.PATH:
        return value.captures(subjects.path)
    if match.subject is Subject.HOST:
        return value.captures(bare_host(subjects.request.authority))
    if match.subject is Subject.QUERY:
        return value.captures(subjects.query)
    return value.captures(subjects.request.method.encode())


def _search_headers(match: Match, subjects: Subjects) -> dict[str, bytes] | None:
    """Search several headers, or those that a regex names."""
    # Proxies reorder headers, so their order of appearance can't decide.
    names = match.literal_names or tuple(sorted(subjects.headers))
    present = [(n.encode(), subjects.headers[n]) for n in names if n in subjects.headers]
    return _search_pairs(match, present) if present else None


def _header(name: str, subjects: Subjects) -> bytes | None:
    return subjects.request.authority if name == "host" else subjects.headers.get(name)


def _search_pairs(match: Match, pairs: Sequence[tuple[bytes, bytes]]) -> dict[str, bytes] | None:
    """Return the captures of the first pair, in order, whose name and value both match."""
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


def _url_text(raw: bytes) -> str:
    """Return a captured part of a URL as the cell will read it: percent-decoded once.

    What isn't UTF-8, or has control characters, stays encoded. No name has them; only the text of
    a key may (``gpg_key``, ``ssh_key``), and that stands in no URL.
    """
    if b"%" in raw:
        plain = urllib.parse.unquote_to_bytes(raw)
        try:
            text = plain.decode("utf-8")
        except UnicodeDecodeError:
            text = ""
        if text and (text.isprintable() or not _has_control(text)):
            return text
    return raw.decode("utf-8", "replace")


def _has_control(text: str) -> bool:
    return any(unicodedata.category(char) == "Cc" for char in text)
