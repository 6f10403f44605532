r"""What of a request an answer depends on: the key under which the edge keeps the answer.

An answer may be given to another request only if no rule could tell the two apart. To keep it
under the whole request would be right and useless: hardly two are the same. So the key is what the
rules look at, and no more. A request comes to the route that asks for a rule only if no rule before
it matches. Therefore an answer that this very rule gives depends on what its own matches look at
(`own_key`). An answer that a later rule gives depends on what any rule from there on looks at
(`rest_key`).

Most rules see only the beginning of the path: `^/(?<route>[^/]+)(?:/|$)` can't tell `/a/b` from
`/a/c`. How far a regex can look is counted in slashes:

    ^/(?<route>[^/]+)(?:/|$)       2: /a/ is enough, whatever follows
    ^/a(?:/[^/]+){2}/x$            5
    ^/a/(?:b/|c(?:\.[^/]+)?$)       3: /a/b/ is enough, and so is /a/c.x/
    ^/a.*$                         None: all of the path

A rule does not count if no path can come to both it and the first one: `^/v2/.*` looks at
everything, but at no path under /groups/.

A key that lacks an input gives one tenant's answer to another. Therefore all of the path counts
unless a proof from the regex's tree allows less. A regex of which RE2 and Python's parser might
have different trees (`regex_tree`) has none, and nothing is proved for it.
`tests/envoy/cache_oracle.py` looks for counterexamples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from re import _constants as op
from re import _parser as parser
from typing import Any

from control_plane.compiler.native.conditions import exact_condition
from control_plane.compiler.regex_tree import regex_tree
from control_plane.routing.rules.ruleset import Match, Rule, Subject

_SLASH = ord("/")


@dataclass(frozen=True, slots=True)
class CacheKey:
    """The inputs of an answer."""

    slashes: int | None
    """The path counts up to and with this many slashes; None: all of it; 0: none of it."""
    headers: tuple[str, ...]
    """Names, ``:authority`` and ``:method`` among them."""
    query: bool


def own_key(rule: Rule, later: Sequence[Rule]) -> CacheKey | None:
    """Return the inputs of an answer that ``rule`` itself gives; None if they can't be named.

    Of the ``later`` rules only what they see of the path counts, so that both keys of a rule have
    the same part of the path.
    """
    return _key(rule.matches, [rule, *later], rule)


def rest_key(rule: Rule, later: Sequence[Rule]) -> CacheKey | None:
    """Return the inputs of an answer that a later rule gives; None if they can't be named."""
    matches = [match for one in (rule, *later) for match in one.matches]
    return _key(matches, [rule, *later], rule)


def _key(matches: Sequence[Match], rules: Sequence[Rule], first: Rule) -> CacheKey | None:
    headers: set[str] = set()
    for match in matches:
        looked_at = _headers(match)
        if looked_at is None:
            return None
        headers |= looked_at
    query = any(match.subject is Subject.QUERY for match in matches)
    return CacheKey(_slashes(rules, first), tuple(sorted(headers)), query)


def _headers(match: Match) -> set[str] | None:
    """Return the headers that a match looks at; None if they can't be named."""
    if match.subject is Subject.HEADER:
        names = {":authority" if name == "host" else name for name in match.literal_names}
        return names or None
    return {
        Subject.COOKIE: {"cookie"},
        Subject.HOST: {":authority"},
        Subject.METHOD: {":method"},
    }.get(match.subject, set())


def _slashes(rules: Sequence[Rule], first: Rule) -> int | None:
    """Return how far these rules look into a path that comes to the route of the first of them."""
    lead = _route_lead(first)
    deepest = 0
    for rule in rules:
        if _excluded(lead, _rule_lead(rule)):
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
    """Return whether no path starts with both."""
    return not (one.startswith(other) or other.startswith(one))


def _route_lead(rule: Rule) -> str:
    """Return a text that each path begins with which comes to the rule's route.

    Envoy leads a path there by conditions. Where a match has no exact one, paths come that the rule
    does not match.
    """
    return _longest_lead(match for match in rule.matches if exact_condition(match) is not None)


def _rule_lead(rule: Rule) -> str:
    """Return a text that each path begins with which the rule matches."""
    return _longest_lead(rule.matches)


def _longest_lead(matches: Iterable[Match]) -> str:
    leads = [
        literal_lead(match.value.pattern)
        for match in matches
        if match.subject is Subject.PATH and match.value is not None and not match.invert
    ]
    return max(leads, key=len, default="")


@lru_cache(maxsize=4096)
def literal_lead(pattern: str) -> str:
    """Return a text that each path begins with in which a regex occurs."""
    tree = _parsed(pattern)
    if tree is None or tree[0] != (op.AT, op.AT_BEGINNING):
        return ""
    literals = takewhile(lambda node: node[0] is op.LITERAL, tree[1:])
    return "".join(chr(code) for _, code in literals)


@lru_cache(maxsize=4096)
def looks_at(pattern: str) -> int | None:
    """Return how many slashes of a path a regex may look at.

    It can't tell two paths apart that begin alike up to this many slashes. None: it may look at
    everything.
    """
    tree = _parsed(pattern)
    if tree is None or tree[0] != (op.AT, op.AT_BEGINNING):
        return None
    return _seen(tree)


def _seen(tree: Any) -> int | None:
    """Return how many slashes a parsed regex may look at, if nothing comes after it.

    A branch that ends with a slash has then seen all that it needs. Any other looks on to the next
    slash, to see whether the path goes on after what was matched: ``/a(?:/|$)`` sees two slashes,
    in each branch. None if there is no bound.
    """
    before, last = tree[:-1], tree[-1:]
    most = _most(before)
    if most is None or not last:
        return None if most is None else most + 1
    code, value = last[0]
    if code is op.LITERAL and value == _SLASH:
        return most + 1
    if code is op.SUBPATTERN:
        rest = [_seen(value[-1])]
    elif code is op.BRANCH:
        rest = [_seen(branch) for branch in value[1]]
    else:
        taken = _most(last)
        rest = [None if taken is None else taken + 1]
    return None if None in rest else most + max(one for one in rest if one is not None)


def _parsed(pattern: str) -> Any:
    """Return the nodes of a regex; None if there is no tree, or if it has branches at its top."""
    tree = regex_tree(pattern)
    if tree is None or not tree.nodes or any(code is op.BRANCH for code, _ in tree.nodes):
        return None
    return tree.nodes


def _most(tree: Any) -> int | None:
    """Return the most slashes that a parsed regex can take up; None if there is no bound."""
    total = 0
    for code, value in tree:
        most = _most_of(code, value)
        if most is None:
            return None
        total += most
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
