r"""Keeps names from taking over pages: a ruleset is told the words that its route table owns.

A rule such as ``^/users/(?<username>[^/]+)(?:/|$)`` reads a name out of a path. The service behind
the edge has pages of its own in the same place: ``/users/sign_in``. Whoever claims the username
``sign_in`` would get everybody's sign-in sent to their cell. So such a rule has a second match that
is inverted, the guard:

    ^/users/(?:auth|sign_in)(?:/|(?:\.[^/.]+)?$)

Guards are derived from the route table. Sample paths of each route are shown to each rule. Where a
rule would read a name that consists of the template's own characters, that word goes into its
guard, along with all that stands below it: a route table is never complete (for example, it lists
only some of the providers of ``/users/auth/…/callback``).

A ``*name`` in a template stands for any segments. One of them may be a word that a rule looks for
further back, as ``dependency_proxy`` in ``^/v2/(?<route>[^/]+)(?:/[^/]+)*/dependency_proxy/``. So
each word of the ruleset's patterns is tried there too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from control_plane.routing.route_table.table import (
    FORMAT,
    NAME,
    Route,
    SamplePath,
    sample_paths,
)
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.ruleset import Classify, Match, Rule, Ruleset, Subject

_GROUP_NAME = re.compile(r"\(\?P?<\w+>")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]+")
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
_ONE_SEGMENT = "[^/]+"
_SOME_SEGMENTS = "[^/]+(?:/[^/]+)*"


@dataclass(slots=True)
class _Words:
    """The words that a rule must not read as names."""

    by_prefix: dict[str, dict[str, bool]] = field(default_factory=dict)
    """By the regex of what stands before: each word, and whether a page of it takes a format."""

    def add(self, prefix: str, word: str, *, takes_format: bool) -> bool:
        """Add a word; return whether that is news."""
        words = self.by_prefix.setdefault(prefix, {})
        if words.get(word, False) or (word in words and not takes_format):
            return False
        words[word] = takes_format
        return True

    def pattern(self) -> str:
        """Return the regex that occurs in the paths that belong to one of the words."""
        branches = [prefix + _branch(words) for prefix, words in sorted(self.by_prefix.items())]
        return f"^{branches[0]}" if len(branches) == 1 else f"^(?:{'|'.join(branches)})"


@dataclass(frozen=True, slots=True)
class Reserved:
    """What was derived from a route table for a ruleset."""

    document: dict[str, Any]
    """The ruleset with its guards."""
    routes: tuple[Route, ...]
    """The routes that gave it a word each; the others name no further one."""


def reserve(document: dict[str, Any], routes: Iterable[Route]) -> Reserved:
    """Return a ruleset whose rules read no word of a route table as a name.

    Each rule that looks a claim up gets a guard, if it needs one, in place of the one that it has:
    its inverted path matches.

    Raises:
        RulesetError: the document is no ruleset.
    """
    parse(document)
    bare = {**document, "rules": [_without_guard(rule) for rule in document["rules"]]}
    words: dict[str, _Words] = {}
    found: dict[Route, None] = {}
    for rule, route, path, start in _takeovers(parse(bare), routes):
        if _add(words.setdefault(rule.id, _Words()), path, start):
            found[route] = None
    rules = [_with_guard(rule, words.get(rule["id"])) for rule in bare["rules"]]
    parse({**bare, "rules": rules})
    return Reserved({**bare, "rules": rules}, tuple(found))


def takeovers(ruleset: Ruleset, routes: Iterable[Route]) -> Iterator[tuple[str, str]]:
    """Return the rule and a path wherever a name could take over a page of the route table."""
    for rule, _, path, _ in _takeovers(ruleset, routes):
        yield rule.id, path.text


def _takeovers(
    ruleset: Ruleset, routes: Iterable[Route]
) -> Iterator[tuple[Rule, Route, SamplePath, int]]:
    """Find the words that rules read as names: in which path, and where there."""
    fills = _fills(ruleset)
    for route in routes:
        for path in sample_paths(route, fills):
            subject = path.text.encode()
            for rule in ruleset.candidates(subject):
                for start, end in _names(rule, subject):
                    if all(path.own[start:end]):
                        yield rule, route, path, start


def _fills(ruleset: Ruleset) -> list[str]:
    """Return what a ``*name`` is filled with."""
    patterns = [
        _GROUP_NAME.sub("(", match.value.pattern)
        for rule in ruleset.rules
        for match in rule.matches
        if _is_path(match) and match.value is not None
    ]
    words = sorted({word for pattern in patterns for word in _WORD.findall(pattern)})
    return [NAME, f"{NAME}/{NAME}", *(f"{NAME}/{word}/{NAME}" for word in words)]


def _is_path(match: Match) -> bool:
    return match.subject is Subject.PATH and not match.invert


def _names(rule: Rule, path: bytes) -> Iterator[tuple[int, int]]:
    """Return where in a path the names stand that the rule looks up."""
    if not isinstance(rule.action, Classify):
        return
    used = {name for _, template in rule.action.claims for name in template.references}
    for match in rule.matches:
        if used and _is_path(match) and match.value is not None:
            spans = match.value.spans(path)
            yield from (span for name, span in spans.items() if name in used)


def _add(words: _Words, path: SamplePath, start: int) -> bool:
    text = path.text.removesuffix(FORMAT) if path.has_format else path.text
    # A name may end within a segment; the route table owns all of it.
    last = text.find("/", start)
    word = text[start : len(text) if last < 0 else last]
    takes_format = path.has_format and last < 0
    return words.add(_prefix(path, start), _escaped(word), takes_format=takes_format)


def _prefix(path: SamplePath, end: int) -> str:
    """Return the regex of what stands before a word; what stands for a name may be anything."""
    regex: list[str] = []
    at = 0
    while at < end:
        stop = at
        while stop < end and path.own[stop] == path.own[at]:
            stop += 1
        part = path.text[at:stop]
        if path.own[at]:
            regex.append(_escaped(part))
        else:
            regex.append(_SOME_SEGMENTS if "/" in part else _ONE_SEGMENT)
        at = stop
    return "".join(regex)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", text)


def _branch(words: Mapping[str, bool]) -> str:
    """Return the regex of words, each to its segment's end or with a format to the path's end."""
    formatted = _any_of(word for word, takes_format in words.items() if takes_format)
    others = _any_of(word for word, takes_format in words.items() if not takes_format)
    branches = [
        *([rf"{formatted}(?:/|(?:\.[^/.]+)?$)"] if formatted else []),
        *([f"{others}(?:/|$)"] if others else []),
    ]
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"


def _any_of(words: Iterable[str]) -> str:
    listed = sorted(words)
    return listed[0] if len(listed) == 1 else f"(?:{'|'.join(listed)})" if listed else ""


def _without_guard(rule: Mapping[str, Any]) -> dict[str, Any]:
    matches = [one for one in _matches(rule) if not (_is_guard(one) and "claims" in _action(rule))]
    return _with_matches(rule, matches)


def _with_guard(rule: Mapping[str, Any], words: _Words | None) -> dict[str, Any]:
    if words is None:
        return dict(rule)
    guard = {"type": "path", "regexValue": words.pattern(), "invert": True}
    return _with_matches(rule, [*_matches(rule), guard])


def _with_matches(rule: Mapping[str, Any], matches: list[Any]) -> dict[str, Any]:
    """Return the rule with other matches, its fields in their order."""
    if not matches:
        return dict(rule)
    return {**rule, "match": matches[0] if len(matches) == 1 else matches}


def _matches(rule: Mapping[str, Any]) -> list[Any]:
    raw = rule.get("match", [])
    return raw if isinstance(raw, list) else [raw]


def _is_guard(match: Any) -> bool:
    return isinstance(match, dict) and match.get("type") == "path" and match.get("invert") is True


def _action(rule: Mapping[str, Any]) -> Any:
    action = rule.get("classify", {})
    return action if isinstance(action, dict) else {}
