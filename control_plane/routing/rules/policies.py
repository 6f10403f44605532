"""Reads what a rule does for an unknown key, a dead classifier, a dead cell or a bad token."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from control_plane.routing.rules.limits import MAX_WEIGHTS
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
POLICY_FIELDS = tuple(field.name for field in fields(Policies))
_HINT = 'use "next", {"cell": name}, "weighted", {"weighted": {name: n}} or {"status": 400-599}'


def read_policies(
    raw: dict[str, Any], defaults: Any, problems: Problems
) -> tuple[Policies, frozenset[str]]:
    """Read a rule's policies.

    Each is the rule's own, or else the ruleset's default, or else cellway's.

    Returns:
        The policies, and which of them the rule or the defaults state.
    """
    if not isinstance(defaults, dict):
        problems.add("defaults", "must be an object", 'write {"on_unknown": "next"}')
        defaults = {}
    for field in defaults:
        if field not in POLICY_FIELDS:
            problems.add(f"defaults.{field}", "unknown field", f"known: {', '.join(POLICY_FIELDS)}")
    stated: dict[str, Policy] = {}
    for field in POLICY_FIELDS:
        source = raw if field in raw else defaults
        if field in source:
            policy = read_policy(source[field], field, problems)
            if policy is not None:
                stated[field] = policy
    return Policies(**stated), frozenset(stated)


def read_policy(raw: Any, field: str, problems: Problems) -> Policy | None:
    """Read one policy; None if it is none, which is reported for ``field``."""
    policy = _policy(raw)
    if policy is None:
        problems.add(field, f"{raw!r} is no policy", _HINT)
    return policy


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


def _weighted(value: Any) -> UseWeighted | None:
    if value is True:
        return UseWeighted()
    if not isinstance(value, dict) or len(value) > MAX_WEIGHTS:
        return None
    # Without a weight above 0 nobody would be chosen.
    good = all(_is_weight(weight) for weight in value.values()) and any(value.values())
    return UseWeighted(tuple(value.items())) if good else None


def _is_weight(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_WEIGHT
