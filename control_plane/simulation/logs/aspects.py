"""What the rules of some rulesets can see of a request, so that equal requests are decided once.

A log has a million lines, and no two of them are equal: each has a time, a request id, a client.
To the rules most of that is invisible. What they can't see is left out of `Recorded`, so that many
lines become the same request::

    GET /acme/app?page=2  cookie: theme=dark; _session=c1-x  user-agent: curl     what a line has
    GET /acme/app         cookie: _session=c1-x                                   what rules see

A query or a cookie is left out if leaving it out changes no match: it matches no pattern of any
rule, and neither does what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from control_plane.routing.rules.regex import Regex, RegexSet
from control_plane.routing.rules.ruleset import Match, Ruleset, Subject

MAX_NAMES = 10_000
"""So many names of headers and cookies are remembered; logs are written by strangers."""


class Aspects:
    """What the rules of some rulesets look at."""

    def __init__(self, rulesets: Iterable[Ruleset]) -> None:
        matches = list(_matches(rulesets))
        headers = [one for one in matches if one.subject is Subject.HEADER]
        self._literal = {name for one in headers for name in one.literal_names}
        self._header_names = [one.name for one in headers if one.name and not one.literal_names]
        cookies = [one.name for one in matches if one.subject is Subject.COOKIE and one.name]
        self._cookie_names = cookies
        self._queries = _Queries(
            [one.value for one in matches if one.subject is Subject.QUERY and one.value]
        )
        self._headers: dict[str, bool] = {}
        self._cookies: dict[bytes, bool] = {}
        self._whole_cookies = self._is_matched("cookie")

    def sees_header(self, name: str) -> bool:
        """Return whether a rule may look at a header, by its lower-case name.

        The host is no header here: `Recorded.authority` has it.
        """
        seen = self._headers.get(name)
        if seen is None:
            _make_room(self._headers)
            is_cookie = name == "cookie" and bool(self._cookie_names)
            seen = name != "host" and (is_cookie or self._is_matched(name))
            self._headers[name] = seen
        return seen

    def _is_matched(self, name: str) -> bool:
        raw = name.encode()
        return name in self._literal or any(one.matches(raw) for one in self._header_names)

    def target(self, target: str) -> str:
        """Return a request target, without its query if no rule can see that."""
        path, mark, query = target.partition("?")
        return path if mark and self._queries.is_unseen(query) else target

    def header(self, name: str, value: str) -> tuple[str, bytes] | None:
        """Return a header as rules see it, by its lower-case name; None if they see nothing."""
        if not self.sees_header(name):
            return None
        raw = value.encode("utf-8", "replace")
        if name == "cookie" and not self._whole_cookies:
            raw = b";".join(piece for piece in raw.split(b";") if self._sees_cookie(piece))
            if not raw:
                return None
        return name, raw

    def _sees_cookie(self, piece: bytes) -> bool:
        name = piece.partition(b"=")[0].strip(b" \t")
        seen = self._cookies.get(name)
        if seen is None:
            _make_room(self._cookies)
            seen = any(one.matches(name) for one in self._cookie_names)
            self._cookies[name] = seen
        return seen


class _Queries:
    """Tells whether a query means anything to any rule."""

    def __init__(self, patterns: list[Regex]) -> None:
        self._patterns = patterns
        self._set = RegexSet(tuple(patterns)) if patterns else None
        self._nothing = frozenset({len(patterns)})
        """What the set answers if no pattern occurs."""
        self._always_seen = any(one.matches(b"") for one in patterns)

    def is_unseen(self, query: str) -> bool:
        # The edge refuses some queries by their characters, and very long ones: those stay.
        if self._always_seen or len(query) > 4096 or not query.isascii():
            return False
        if "#" in query or " " in query or not query.isprintable():
            return False
        if self._set is None:
            return True
        raw = query.encode()
        try:
            return self._set.search(raw) == self._nothing
        except MemoryError:
            return not any(one.matches(raw) for one in self._patterns)


def _matches(rulesets: Iterable[Ruleset]) -> Iterator[Match]:
    for ruleset in rulesets:
        for rule in ruleset.rules:
            yield from rule.matches


def _make_room[K](names: dict[K, bool]) -> None:
    if len(names) >= MAX_NAMES:
        names.clear()
