r"""Turns a rule's matches into conditions that Envoy can test on request headers.

A match looks at one part of a request: the path without its query, one cookie, the bare host. For
Envoy there are headers only: ``:path`` with the query, the whole ``cookie``, ``:authority`` with
its port. So each regex is rewritten to be found in the larger text exactly where it was found in
the part. For example, the path match ``^/a[^/]*$`` becomes

    Condition((":path",), r"[^?]*?(?:^/a[^?/]*(?:\?|$))\C*")

Where that can't be exact, there is no condition, and the rule is left to the classifier. For such
a rule a condition is enough that holds at least whenever the match does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from control_plane.compiler.native.regex_rewrite import anchored, without
from control_plane.routing.rules.ruleset import Match, Subject

ANY = r"\C*"
"""RE2 for any bytes."""
HOST = "host"


@dataclass(frozen=True, slots=True)
class Condition:
    """One of these headers fully matches ``regex``; with ``invert``, none of them does."""

    headers: tuple[str, ...]
    regex: str
    invert: bool = False


def exact_condition(match: Match) -> Condition | None:
    """Return the condition that holds exactly when the match does; None if there is none."""
    if match.subject is Subject.HEADER:
        return _header(match)
    if match.subject is Subject.COOKIE:
        return _cookie(match)
    if match.subject is Subject.QUERY:
        return None
    assert match.value is not None
    if match.subject is Subject.METHOD:
        return Condition((":method",), _search(match.value.pattern), match.invert)
    if match.subject is Subject.HOST:
        return _host(match, match.value.pattern)
    inner = without(match.value.pattern, "?", r"(?:\?|$)", widen=True)
    return Condition((":path",), rf"[^?]*?(?:{inner}){ANY}", match.invert) if inner else None


def necessary_condition(match: Match) -> Condition | None:
    """Return a condition that holds whenever the match does; None where no cheap one is known."""
    if match.invert:
        return None
    if match.subject is Subject.COOKIE:
        return Condition(("cookie",), ANY)
    if match.subject is Subject.QUERY:
        assert match.value is not None
        if match.value.matches(b""):
            # Without a "?" there is a query, too: an empty one.
            return None
        # Without its anchors the pattern is found at least wherever it was.
        inner = without(match.value.pattern, "", "", widen=True, start="")
        return Condition((":path",), rf"[^?]*\?{ANY}?(?:{inner or ''}){ANY}")
    return None


def cookie_start(match: Match) -> str | None:
    """Return RE2 for the Cookie header from its beginning to where the cookie's value starts.

    None if the regex of the cookie's name can't be rewritten exactly.
    """
    assert match.name is not None
    name = anchored(match.name.pattern)
    if name is None or not (name.start and name.end):
        return None
    name_regex = without(name.body, "=; \t", "", widen=False)
    if name_regex is None:
        return None
    return rf"(?:{ANY}?;)??[ \t]*(?:{name_regex})[ \t]*=[ \t]*"


def _header(match: Match) -> Condition | None:
    """Only of fixed names. "host" is among several names no longer the header that it is alone."""
    if not match.literal_names or (len(match.literal_names) > 1 and HOST in match.literal_names):
        return None
    names = tuple(":authority" if name == HOST else name for name in match.literal_names)
    regex = ANY if match.value is None else _search(match.value.pattern)
    return Condition(names, regex, match.invert)


def _search(pattern: str) -> str:
    return rf"{ANY}?(?:{pattern}){ANY}"


def _host(match: Match, pattern: str) -> Condition | None:
    """Only for a fixed name: the evaluator compares it in lower case, without port and dot."""
    literal = re.fullmatch(r"\^((?:[a-z0-9-]|\\\.)+)\$", pattern)
    if literal is None:
        return None
    return Condition((":authority",), rf"(?i:{literal[1]})\.?(?::[0-9]+)?", match.invert)


def _cookie(match: Match) -> Condition | None:
    """The Cookie header is matched up to where the match of the first matching cookie ends."""
    start = cookie_start(match)
    value = anchored(match.value.pattern if match.value else "^")
    if start is None or value is None:
        return None
    value_regex = without(value.body, "; \t", "", widen=False)
    if value_regex is None:
        return None
    lead = "" if value.start else r"[^;]*?"
    tail = r"[ \t]*(?:;|$)" if value.end else ""
    return Condition(("cookie",), rf"{start}{lead}(?:{value_regex}){tail}{ANY}", match.invert)
