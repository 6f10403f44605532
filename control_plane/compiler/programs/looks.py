"""What a match looks at, in a program's words: texts of the request, or its cookies.

For example, ``{"type": "path", "regexValue": "^/a"}`` looks for a pattern in one text, the path. A
header match with several names looks at several texts, in the order of the names. Where a program
can't look, there is a reason instead, and the match is never certain.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from control_plane.names import INTERNAL_PREFIX
from control_plane.routing.admission.headers import UNSEEN_BY_RULES
from control_plane.routing.rules.regex import Regex
from control_plane.routing.rules.ruleset import Match, Subject

CHANGED_ON_THE_WAY = frozenset(
    {"connection", "expect", "host", "http2-settings", "te", "trailer", "upgrade"}
)
"""Headers that may be others when Envoy picks a route than when the classifier is asked."""


class Part(IntEnum):
    """A part of the request that is one text (``enum cw_text_kind``)."""

    PATH = 0
    QUERY = 1
    HOST = 2
    METHOD = 3
    HEADER = 4


@dataclass(frozen=True, slots=True, order=True)
class Text:
    """A text of the request."""

    part: Part
    header: str = ""


@dataclass(frozen=True, slots=True)
class TextLook:
    """The first of these texts that is there and has the pattern counts."""

    texts: tuple[Text, ...]
    pattern: str | None
    """None: it need only be there."""


@dataclass(frozen=True, slots=True)
class CookieLook:
    """The first cookie whose name and value have these patterns counts."""

    name: str
    value: str | None


@dataclass(frozen=True, slots=True)
class NoLook:
    """A program can't look there."""

    reason: str


Look = TextLook | CookieLook | NoLook

_PARTS = {
    Subject.PATH: Part.PATH,
    Subject.QUERY: Part.QUERY,
    Subject.HOST: Part.HOST,
    Subject.METHOD: Part.METHOD,
}


def look(match: Match) -> Look:
    """Return what a match looks at, without its inversion."""
    value = None if match.value is None else pattern_text(match.value)
    if match.subject is Subject.COOKIE:
        assert match.name is not None
        return CookieLook(pattern_text(match.name), value)
    if match.subject is Subject.HEADER:
        return _header_look(match, value)
    return TextLook((Text(_PARTS[match.subject]),), value)


def pattern_text(regex: Regex) -> str:
    """Return a regex as the automata read it."""
    return regex.pattern if regex.case_sensitive else f"(?i:{regex.pattern})"


def _header_look(match: Match, value: str | None) -> Look:
    assert match.name is not None
    if not match.literal_names:
        return NoLook(f"the names of headers are a regex, {match.name.pattern}")
    if match.literal_names == ("host",):
        return TextLook((Text(Part.HEADER, ":authority"),), value)
    for name in match.literal_names:
        if name in UNSEEN_BY_RULES or name.startswith(INTERNAL_PREFIX):
            return NoLook(f"no rule sees the header {name}")
        if name in CHANGED_ON_THE_WAY:
            return NoLook(f"Envoy changes the header {name}")
    return TextLook(tuple(Text(Part.HEADER, name) for name in match.literal_names), value)
