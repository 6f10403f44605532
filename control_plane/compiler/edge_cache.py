"""The edge cache's script: `envoy/edge_cache.lua` with what it depends on written in front."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from control_plane.compiler.cache_key import own_key, rest_key
from control_plane.compiler.model import (
    AUTHZ_FAILED_HEADER,
    CELL_HEADER,
    CLASSIFIER_CLUSTER,
    MISDIRECTED_HEADER,
    RULE_HEADER,
    TIER_HEADER,
    TrafficPolicy,
)
from control_plane.routing.evaluate import RETRY_AFTER_S
from control_plane.routing.ruleset import Rule, Ruleset, Subject

_FOLDER = Path(__file__).parents[2] / "envoy"
_UNDONE = (
    MISDIRECTED_HEADER,
    CELL_HEADER,
    RULE_HEADER,
    TIER_HEADER,
    "x-cellway-host",
    "x-cellway-stale",
    AUTHZ_FAILED_HEADER,
    "transfer-encoding",
)
"""What the first try has left on a request; of a body there is none where it is asked again."""

AGAIN_ROUTE = "ask again"
"""The name of the route of what a cell has answered with 421; no asking route has it."""
Value = str | int | bool | None | Sequence["Value"] | Mapping[str, "Value"]


@cache
def _script(name: str) -> str:
    return (_FOLDER / name).read_text()


def asking_route(rule: Rule) -> str:
    """The name of the route that asks the classifier for a rule."""
    return f"ask:{rule.id}"


def is_cacheable(rule: Rule, ruleset: Ruleset) -> bool:
    """Whether all that the rule's answers depend on can be named."""
    return _spec(rule, ruleset.rules) is not None


def headers_asked(ruleset: Ruleset) -> tuple[str, ...] | None:
    """The headers that any rule looks at, to be sent along; None if they can't be named."""
    names = {"cookie"}
    for rule in ruleset.rules:
        for match in rule.matches:
            if match.subject is Subject.HEADER:
                if not match.literal_names:
                    return None
                names |= set(match.literal_names)
    return tuple(sorted(names - {"host"}))


def compile_script(ruleset: Ruleset, policy: TrafficPolicy, *, second_try: bool) -> str:
    """The whole script for a ruleset whose headers can be named."""
    specs = {
        asking_route(rule): spec
        for rule in ruleset.rules
        if (spec := _spec(rule, ruleset.rules)) is not None
    }
    asked = headers_asked(ruleset)
    assert asked is not None
    constants: dict[str, Value] = {
        "SPECS": specs,
        "ASK": asked,
        "UNDONE": _UNDONE,
        "CLUSTER": CLASSIFIER_CLUSTER,
        "TIMEOUT_MS": round(policy.classifier_timeout_s * 1000),
        "SECOND_TRY": second_try,
        "SHOW_TIER": bool(policy.debug_networks),
        "MAX_POSITIVE": policy.edge_cache_entries,
        "MAX_NEGATIVE": max(2, policy.edge_cache_entries // 10),
        "STALE_MS": round(policy.edge_cache_stale_s * 1000),
    }
    return _locals(constants) + _script("edge_cache.lua")


def compile_misdirected_script() -> str:
    """The script that makes a 503 of a 421 that is left."""
    return _locals({"RETRY_AFTER": str(RETRY_AFTER_S)}) + _script("misdirected.lua")


def compile_empty_421_script() -> str:
    """The script that gives a 421 a body."""
    body = '{"status": 503, "title": "cellway: the cell says that it is not the owner"}\n'
    return _locals({"BODY": body}) + _script("empty_421.lua")


def _locals(constants: Mapping[str, Value]) -> str:
    return "".join(f"local {name} = {to_lua(value)}\n" for name, value in constants.items())


def _spec(rule: Rule, rules: Sequence[Rule]) -> dict[str, Value] | None:
    later = rules[rules.index(rule) + 1 :]
    own, rest = own_key(rule, later), rest_key(rule, later)
    if own is None or rest is None:
        return None
    return {
        "slashes": own.slashes,
        "own": own.headers,
        "own_query": own.query,
        "rest": tuple(sorted(set(rest.headers) - set(own.headers))),
        "rest_query": rest.query and not own.query,
        "rules": dict.fromkeys(_same_inputs(rule, later), True),
    }


def _same_inputs(rule: Rule, later: Iterable[Rule]) -> list[str]:
    """The rule, and those that follow it at once and look at nothing but what it looks at."""
    own = own_key(rule, ())
    assert own is not None
    found = [rule.id]
    for one in later:
        key = own_key(one, ())
        if key is None or not set(key.headers) <= set(own.headers) or (key.query and not own.query):
            break
        found.append(one.id)
    return found


def to_lua(value: Value) -> str:
    """A Lua expression for a value; keys without a value are left out."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + "".join(_char(byte) for byte in value.encode()) + '"'
    if isinstance(value, Mapping):
        items = [f"[{to_lua(k)}] = {to_lua(v)}" for k, v in value.items() if v is not None]
        return "{" + ", ".join(items) + "}"
    return "{" + ", ".join(to_lua(one) for one in value) + "}"


def _char(byte: int) -> str:
    char = chr(byte)
    return char if 0x20 <= byte < 0x7F and char not in '"\\' else f"\\{byte:03d}"
