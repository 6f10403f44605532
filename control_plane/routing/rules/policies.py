"""Reads what a rule does for an unknown key, a dead classifier, a dead cell or a bad token."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from control_plane.routing.rules.problems import Problems
from control_plane.routing.rules.ruleset import (
    Next,
    Policies,
    Policy,
    UseCell,
    UseStatus,
    UseWeighted,
)

MAX_WEIGHT = 1_000_000
_HINT = 'use "next", {"cell": name}, "weighted", {"weighted": {name: n}} or {"status": 400-599}'
POLICY_FIELDS = tuple(field.name for field in fields(Policies))


def read_policies(
    raw: dict[str, Any], defaults: Any, problems: Problems
) -> tuple[Policies, frozenset[str]]:
    """A rule's policies (its own, the ruleset's defaults, cellway's) and which are stated."""
    if not isinstance(defaults, dict):
        problems.add("defaults", "must be an object", 'write {"on_unknown": "next"}')
        defaults = {}
    for field in defaults:
        if field not in POLICY_FIELDS:
            problems.add(f"defaults.{field}", "unknown field", f"known: {', '.join(POLICY_FIELDS)}")
    given: dict[str, Policy] = {}
    for field in POLICY_FIELDS:
        source = raw if field in raw else defaults
        if field in source:
            policy = _policy(source[field])
            if policy is None:
                problems.add(field, f"{source[field]!r} is no policy", _HINT)
            else:
                given[field] = policy
    return Policies(**given), frozenset(given)


def _policy(raw: Any) -> Policy | None:
    if raw == "next":
        return Next()
    if raw == "weighted":
        return UseWeighted()
    if isinstance(raw, int) and not isinstance(raw, bool):
        raw = {"status": raw}
    if not isinstance(raw, dict) or len(raw) != 1:
        return None
    ((kind, value),) = raw.items()
    if kind == "cell" and isinstance(value, str) and value:
        return UseCell(value)
    if kind == "status" and isinstance(value, int) and 400 <= value <= 599:
        return UseStatus(value)
    if kind == "weighted":
        return _weighted(value)
    return None


def _weighted(value: Any) -> Policy | None:
    if value is True:
        return UseWeighted()
    if isinstance(value, dict) and value:
        for weight in value.values():
            if not isinstance(weight, int) or isinstance(weight, bool):
                return None
            if not 0 <= weight <= MAX_WEIGHT:
                return None
        if any(value.values()):
            return UseWeighted(tuple(value.items()))
    return None
