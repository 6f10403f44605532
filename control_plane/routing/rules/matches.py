"""Reads ``match``: which requests a rule is for."""

from __future__ import annotations

import re
from typing import Any

from control_plane.routing.rules.fields import check_fields, read_objects, read_regex
from control_plane.routing.rules.problems import Problems
from control_plane.routing.rules.regex import Regex
from control_plane.routing.rules.ruleset import Match, Subject

_FIELDS = ("type", "name", "regexValue", "invert")
_NAMED = frozenset({Subject.HEADER, Subject.COOKIE})
_LITERAL_NAMES = re.compile(
    r"\^(?:\(\?i\))?(?:([A-Za-z0-9_-]+)|\(\?:([A-Za-z0-9_-]+(?:\|[A-Za-z0-9_-]+)*)\))\$\Z"
)


def read_matches(raw: Any, problems: Problems) -> tuple[Match, ...]:
    """Return the matches that can be read; what is wrong with the others is reported."""
    matches: list[Match] = []
    for item in read_objects(raw, "match", problems):
        check_fields(item, _FIELDS, problems, "match.")
        kind = item.get("type")
        if kind not in list(Subject):
            hint = f"use one of {', '.join(Subject)}"
            problems.add("match.type", f"{kind!r} is no kind of match", hint)
            continue
        subject = Subject(kind)
        if _has_its_fields(subject, item, problems):
            matches.append(_match(subject, item, problems))
    return tuple(matches)


def _has_its_fields(subject: Subject, item: dict[str, Any], problems: Problems) -> bool:
    """Report the first field that a match of this subject lacks, or that it can't have."""
    named = subject in _NAMED
    if named != ("name" in item):
        hint = "give name a regex" if named else "leave name out"
        problems.add("match.name", f"a {subject} match has {'a' if named else 'no'} name", hint)
    elif not named and "regexValue" not in item:
        problems.add("match.regexValue", f"a {subject} match needs it", "give regexValue a regex")
    elif not isinstance(item.get("invert", False), bool):
        problems.add("match.invert", "must be true or false", "write true or false")
    else:
        return True
    return False


def _match(subject: Subject, item: dict[str, Any], problems: Problems) -> Match:
    name = value = None
    if subject in _NAMED:
        # Names of headers are the same in any case, and so are hosts.
        fold = subject is Subject.HEADER
        name = read_regex(item["name"], "match.name", problems, fold=fold)
    if "regexValue" in item:
        fold = subject is Subject.HOST
        value = read_regex(item["regexValue"], "match.regexValue", problems, fold=fold)
    literals = _literal_names(name) if subject is Subject.HEADER else ()
    return Match(subject, name, value, bool(item.get("invert", False)), literals)


def _literal_names(name: Regex | None) -> tuple[str, ...]:
    """Return the fixed names that a regex such as ``^(?:a|b)$`` lists; () if it is none such."""
    literal = _LITERAL_NAMES.match(name.pattern) if name else None
    return tuple((literal[1] or literal[2]).lower().split("|")) if literal else ()
