"""What of a request an ambiguous rule's answer depends on: the key under which the edge keeps it.

A request comes to the route that asks for a rule only if no rule before it matches. So an answer
that this very rule gives depends on what its own matches look at, and nothing else. An answer that
a later rule gives depends on what any rule from there on looks at.

Of the path most rules see a beginning only: `^/(?<route>[^/]+)(?:/|$)` can't tell `/a/b` from
`/a/c`. How far a regex can look is counted in slashes; where that can't be known, it is all of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from re import _constants as op
from re import _parser as parser
from typing import Any

from control_plane.routing.rules.ruleset import Match, Rule, Subject

_TAIL = re.compile(r"\(\?:/(?:\|%2\[fF\])?\|\$\)\Z")
"""How a rule says that a segment ends: nothing after that slash is looked at."""
_SLASH = ord("/")


@dataclass(frozen=True, slots=True)
class CacheKey:
    """The inputs of an answer."""

    slashes: int | None
    """The path up to and with this many slashes; None: all of it; 0: none of it."""
    headers: tuple[str, ...]
    """Names, ``:authority`` and ``:method`` among them."""
    query: bool


def own_key(rule: Rule, later: Sequence[Rule]) -> CacheKey | None:
    """The inputs of an answer that ``rule`` itself gives; None if they can't be named.

    ``later`` rules are taken in for the path alone: so both keys of a rule share one beginning.
    """
    return _key(rule.matches, [rule, *later], rule)


def rest_key(rule: Rule, later: Sequence[Rule]) -> CacheKey | None:
    """The inputs of an answer that a later rule gives."""
    matches = [match for one in (rule, *later) for match in one.matches]
    return _key(matches, [rule, *later], rule)


def _key(matches: Sequence[Match], rules: Sequence[Rule], first: Rule) -> CacheKey | None:
    headers: set[str] = set()
    for match in matches:
        names = _headers(match)
        if names is None:
            return None
        headers |= names
    query = any(match.subject is Subject.QUERY for match in matches)
    return CacheKey(_slashes(rules, first), tuple(sorted(headers)), query)


def _headers(match: Match) -> set[str] | None:
    if match.subject is Subject.HEADER:
        found = {":authority" if name == "host" else name for name in match.literal_names}
        return found or None
    return {
        Subject.COOKIE: {"cookie"},
        Subject.HOST: {":authority"},
        Subject.METHOD: {":method"},
    }.get(match.subject, set())


def _slashes(rules: Sequence[Rule], first: Rule) -> int | None:
    lead = _path_lead(first)
    deepest = 0
    for rule in rules:
        if _excluded(lead, _path_lead(rule)):
            continue
        for match in rule.matches:
            if match.subject is Subject.PATH:
                assert match.value is not None
                depth = looks_at(match.value.pattern)
                if depth is None:
                    return None
                deepest = max(deepest, depth)
    return deepest


def _excluded(one: str, other: str) -> bool:
    """Whether no path starts with both."""
    return not (one.startswith(other) or other.startswith(one))


def _path_lead(rule: Rule) -> str:
    """A text that each path begins with which the rule takes."""
    leads = [
        _literal_lead(match.value.pattern)
        for match in rule.matches
        if match.subject is Subject.PATH and match.value is not None and not match.invert
    ]
    return max(leads, key=len, default="")


def _literal_lead(pattern: str) -> str:
    if "|" in re.sub(r"\(.*\)", "", pattern) or not pattern.startswith("^"):
        return ""
    found = re.match(r"\^([A-Za-z0-9/_-]*)(.?)", pattern)
    assert found is not None
    return found[1][:-1] if found[2] and found[2] in "*+?{" else found[1]


def looks_at(pattern: str) -> int | None:
    """A regex over a path can't tell two paths apart that begin alike up to this many slashes.

    None: it may look at everything.
    """
    tail = _TAIL.search(pattern)
    tree = _parsed(pattern[: tail.start()] if tail else pattern)
    if tree is None or tree[0] != (op.AT, op.AT_BEGINNING):
        return None
    most = _most(tree)
    # One slash more, to see whether the path goes on after what was matched.
    return None if most is None else most + 1


def _parsed(pattern: str) -> Any:
    """The tree of a regex that RE2 and Python read alike, without alternatives at its top."""
    if "[:" in pattern:
        return None
    try:
        # Groups that capture keep their shape in the tree.
        tree = parser.parse(re.sub(r"\(\?(?:P?<\w+>|:)", "(", pattern))
    except re.error:
        return None
    return None if not tree or any(code is op.BRANCH for code, _ in tree) else tree


def _most(tree: Any) -> int | None:
    """The most slashes that a parsed regex can take up; None if there is no bound."""
    total = 0
    for code, value in tree:
        one = _most_of(code, value)
        if one is None:
            return None
        total += one
    return total


def _most_of(code: Any, value: Any) -> int | None:
    if code is op.AT:
        return 0
    if code is op.LITERAL:
        return int(value == _SLASH)
    if code is op.ANY:
        return 1
    if code is op.IN:
        return int(_may_be_slash(value))
    if code is op.SUBPATTERN:
        return _most(value[-1])
    if code is op.BRANCH:
        most = [_most(branch) for branch in value[1]]
        return None if None in most else max(one for one in most if one is not None)
    if code in {op.MAX_REPEAT, op.MIN_REPEAT}:
        inner = _most(value[2])
        if inner in {0, None}:
            return inner
        assert inner is not None
        return None if value[1] is parser.MAXREPEAT else inner * int(value[1])
    # Whatever else there is may take up any number of slashes.
    return None if code is not op.NOT_LITERAL or value != _SLASH else 0


def _may_be_slash(members: Any) -> bool:
    negated = any(code is op.NEGATE for code, _ in members)
    listed = False
    for code, value in members:
        if code is op.LITERAL:
            listed |= value == _SLASH
        elif code is op.RANGE:
            listed |= value[0] <= _SLASH <= value[1]
        elif code is op.CATEGORY:
            listed |= negated is False and value not in {op.CATEGORY_DIGIT, op.CATEGORY_WORD}
    return listed is not negated
