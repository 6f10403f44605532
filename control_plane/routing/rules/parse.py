"""Reads ruleset JSON (GitLab's HTTP Router format plus cellway's policies) into a `Ruleset`.

Reading goes on after a problem, so that an author is told of all of them at once.
"""

from __future__ import annotations

import re
from typing import Any

from control_plane.routing.rules.actions import read_action
from control_plane.routing.rules.digest import rules_digest
from control_plane.routing.rules.document import Document, load
from control_plane.routing.rules.fields import check_fields
from control_plane.routing.rules.limits import MAX_KEYED_RULES, MAX_RULES
from control_plane.routing.rules.matches import read_matches
from control_plane.routing.rules.policies import read_policies
from control_plane.routing.rules.problems import Problems
from control_plane.routing.rules.ruleset import Classify, ClassifyType, Rule, Ruleset
from control_plane.routing.rules.transforms import read_required, read_transforms

_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_FIELDS = ("name", "description", "defaults", "rules", "version")
_KEYED = frozenset({ClassifyType.CELL_ID, ClassifyType.SESSION_PREFIX})
_RULE_FIELDS = (
    "id", "match", "transform", "validate", "action", "classify", "proxy", "description",
    "on_unknown", "on_classifier_down", "on_cell_down", "on_invalid",
)  # fmt: skip


def parse(document: Document) -> Ruleset:
    """Parse a ruleset.

    Raises:
        RulesetError: with every problem there is, each naming rule, field and hint.
    """
    raw = load(document)
    problems = Problems()
    check_fields(raw, _FIELDS, problems)
    rules = raw.get("rules")
    if not isinstance(rules, list) or not rules:
        problems.add("rules", "there are no rules", "give a list with at least one rule")
        rules = []
    if len(rules) > MAX_RULES:
        problems.add("rules", f"more than {MAX_RULES} rules", "split the ruleset")
        rules = []
    ids: set[str] = set()
    defaults = raw.get("defaults", {})
    parsed = [_rule(rule, index, defaults, ids, problems) for index, rule in enumerate(rules)]
    if sum(rule is not None and _is_keyed(rule) for rule in parsed) > MAX_KEYED_RULES:
        message = f"more than {MAX_KEYED_RULES} rules look a key up (CELL_ID, SESSION_PREFIX)"
        problems.add("rules", message, "join rules that look up the same key")
    problems.raise_if_any()
    return Ruleset(
        str(raw.get("name", "unnamed")),
        tuple(rule for rule in parsed if rule is not None),
        str(raw.get("description", "")),
        rules_digest(raw),
    )


def _rule(raw: Any, index: int, defaults: Any, ids: set[str], problems: Problems) -> Rule | None:
    if not isinstance(raw, dict):
        problems.add(f"rules[{index}]", "a rule is an object", "write {…}")
        return None
    rule_id = _rule_id(raw.get("id"), index, ids, problems)
    ids.add(rule_id)
    with problems.within(rule_id):
        check_fields(raw, _RULE_FIELDS, problems)
        matches = read_matches(raw.get("match"), problems)
        transforms = read_transforms(raw.get("transform"), problems)
        required = read_required(raw.get("validate"), problems)
        action = read_action(raw, problems)
        policies, stated = read_policies(raw, defaults, problems)
    if action is None:
        return None
    return Rule(rule_id, matches, transforms, required, action, policies, stated)


def _rule_id(raw: Any, index: int, ids: set[str], problems: Problems) -> str:
    """Return the rule's id, or a place in the list for one that has none."""
    place = f"rules[{index}]"
    if not isinstance(raw, str) or not _ID.match(raw):
        hint = "1 to 64 of letters, digits, _ . -"
        problems.add(f"{place}.id", "missing or malformed", hint)
        return place
    if raw in ids:
        problems.add(f"{place}.id", f"{raw!r} is used twice", "give each rule its own id")
    return raw


def _is_keyed(rule: Rule) -> bool:
    """Return whether the rule has a route for each cell."""
    action = rule.action
    return (
        isinstance(action, Classify)
        and action.type in _KEYED
        and action.value is not None
        and bool(action.value.references)
    )
