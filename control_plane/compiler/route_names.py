"""The names of routes that ask the classifier: all that the edge needs to know for the question.

Envoy pins the newest route table to a request when the request begins. The filters' settings come
with the connection, and a connection that is kept alive may have older ones. So the filters know
nothing of any ruleset. The edge cache's script reads the name of the route, for example

    ask:org ruleset=5d0a0e1c7e3f4b21 next=0 path=3 own= rest=x-token rules=org ask=cookie,x-token

which means: the answer of the rule ``org`` depends on the path up to its third slash, those of
later rules on X-Token, too; Cookie and X-Token go to the classifier, which is to decide by the
ruleset with this digest. The cache keeps answers by the name, so two routes that differ in any of
this have no answer in common.

Fields that list headers are separated by commas; ``?`` stands for the query, ``/`` for what can't
be listed. Neither is part of a header's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from control_plane.compiler.cache_key import CacheKey, own_key, rest_key
from control_plane.routing.rules.headers_seen import headers_seen
from control_plane.routing.rules.ruleset import Rule, Ruleset

MAX_LISTED = 64
"""Headers or rules in one field. Each route has such lists, so a table with more would be huge."""
_UNLISTED = "/"
_QUERY = "?"


@dataclass(frozen=True, slots=True)
class RouteNames:
    """The names of the routes of a ruleset that ask the classifier."""

    by_rule: dict[str, str]
    """By the id of the rule that the classifier is asked for."""
    again: str
    """The name of the route for requests that a cell has answered with 421."""


def name_routes(ruleset: Ruleset, *, second_try: bool) -> RouteNames:
    """Return the names of a ruleset's routes; the same rules give the same names.

    Args:
        second_try: Whether a request is to be routed once more when the classifier is out of reach.
    """
    asked = _listed(headers_seen(ruleset))
    shared = f"ruleset={ruleset.digest} next={second_try:d}"
    names = {}
    for index, rule in enumerate(ruleset.rules):
        inputs = _inputs(rule, ruleset.rules[index + 1 :])
        names[rule.id] = f"ask:{rule.id} {shared} {inputs} ask={asked}"
    return RouteNames(names, f"again {shared} ask={asked}")


def _inputs(rule: Rule, later: Sequence[Rule]) -> str:
    own, rest = own_key(rule, later), rest_key(rule, later)
    slashes = _UNLISTED if own is None or own.slashes is None else own.slashes
    more = None
    if own is not None and rest is not None:
        headers = tuple(name for name in rest.headers if name not in own.headers)
        more = CacheKey(rest.slashes, headers, rest.query and not own.query)
    same = "" if own is None else ",".join(_same_inputs(rule, later))
    return f"path={slashes} own={_key(own)} rest={_key(more)} rules={same}"


def _key(key: CacheKey | None) -> str:
    if key is None:
        return _UNLISTED
    return _listed((*key.headers, *([_QUERY] if key.query else [])))


def _listed(names: tuple[str, ...] | None) -> str:
    return _UNLISTED if names is None or len(names) > MAX_LISTED else ",".join(names)


def _same_inputs(rule: Rule, later: Iterable[Rule]) -> list[str]:
    """Return the rule, and those right after it that look at nothing but what it looks at.

    At most `MAX_LISTED` are listed. Answers of the others are kept under more inputs than they
    depend on.
    """
    own = own_key(rule, ())
    same = [rule.id]
    for one in later:
        key = own_key(one, ())
        if own is None or key is None or len(same) == MAX_LISTED:
            break
        if not set(key.headers) <= set(own.headers) or (key.query and not own.query):
            break
        same.append(one.id)
    return same
