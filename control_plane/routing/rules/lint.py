"""Finds what can't work in a ruleset, and what will never be used, before traffic does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from control_plane.names import INTERNAL_PREFIX
from control_plane.routing.admission.headers import UNSEEN_BY_RULES
from control_plane.routing.model import Cells
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.policies import POLICY_FIELDS
from control_plane.routing.rules.problems import RulesetError
from control_plane.routing.rules.ruleset import (
    Classify,
    ClassifyType,
    Match,
    Next,
    Proxy,
    Rule,
    Ruleset,
    Template,
    UseCell,
    UseWeighted,
)

KNOWN_BUCKETS = frozenset(
    [
        "route",
        "organization_path",
        "redirect_route",
        "username",
        "email",
        "project_id",
        "namespace_id",
        "gpg_key",
        "ssh_key",
        "user_id",
        "organization_id",
        "service_desk_custom_email",
        "gpg_key_fingerprint",
        "ssh_key_fingerprint",
        "snippet_id",
        "pages_domain",
        "pages_unique_domain",
    ]
)
"""Claim types of GitLab's Topology Service; other names are buckets of one's own."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark: an error can't work, a warning is probably not what was meant."""

    severity: str
    rule: str | None
    field: str
    message: str
    mend: str


def lint(document: str | bytes | dict[str, Any], cells: Cells | None = None) -> list[Finding]:
    """Everything worth saying about a ruleset; with ``cells``, names are checked against them."""
    try:
        ruleset = parse(document)
    except RulesetError as error:
        return [Finding("error", p.rule, p.field, p.message, p.mend) for p in error.problems]
    return [*_errors(ruleset, cells), *_warnings(ruleset)]


def check(ruleset: Ruleset, cells: Cells | None = None) -> list[Finding]:
    """The errors of an already parsed ruleset."""
    return list(_errors(ruleset, cells))


def _errors(ruleset: Ruleset, cells: Cells | None) -> Iterator[Finding]:
    for rule in ruleset.rules:
        yield from _unseen(rule)
        yield from _references(rule)
        if cells is not None:
            yield from _names(rule, cells)


def _unseen(rule: Rule) -> Iterator[Finding]:
    for name in (name for match in rule.matches for name in match.literal_names):
        if name in UNSEEN_BY_RULES or name.startswith(INTERNAL_PREFIX):
            message = f"no rule can see {name}: the edge removes it or has its own"
            mend = "match a header that gets to the cell as the client sent it"
            yield Finding("error", rule.id, "match.name", message, mend)


def _references(rule: Rule) -> Iterator[Finding]:
    captures = {
        group
        for match in rule.matches
        if not match.invert
        for regex in (match.name, match.value)
        if regex
        for group in regex.groups
    }
    outputs: dict[str, frozenset[str] | None] = {}
    for transform in rule.transforms:
        yield from _unresolved(rule, "transform.input", transform.input, captures, outputs)
        outputs[transform.output] = frozenset(transform.value.groups) if transform.value else None
    for name in rule.required:
        yield from _unresolved(rule, "validate.exist", name, captures, outputs)
    if isinstance(rule.action, Classify):
        if rule.action.value is not None:
            yield from _unresolved(rule, "classify.value", rule.action.value, captures, outputs)
        for bucket, template in rule.action.claims:
            yield from _unresolved(rule, f"classify.claims.{bucket}", template, captures, outputs)


def _unresolved(
    rule: Rule,
    field: str,
    wanted: Template | str,
    captures: set[str],
    outputs: dict[str, frozenset[str] | None],
) -> Iterator[Finding]:
    for name in (wanted,) if isinstance(wanted, str) else wanted.references:
        output, dot, key = name.partition(".")
        if not dot and name not in captures:
            known = ", ".join(sorted(captures)) or "none"
            mend = f"name a capture (?<{name}>…) in match; there are: {known}"
            yield Finding("error", rule.id, field, f"{name} is captured nowhere", mend)
        elif dot and output not in outputs:
            mend = f"add a transform with output {output!r} before it is used"
            yield Finding("error", rule.id, field, f"no transform makes {output}", mend)
        elif dot and (keys := outputs[output]) is not None and key not in keys:
            mend = f"name a capture (?<{key}>…) in the transform's regexValue"
            yield Finding("error", rule.id, field, f"{output} has no {key}", mend)


def _names(rule: Rule, cells: Cells) -> Iterator[Finding]:
    mend = f"use one of: {', '.join(sorted(cells.by_name)) or '(there are no cells)'}"
    for field, name in _named_cells(rule):
        if name not in cells.by_name:
            yield Finding("error", rule.id, field, f"there is no cell {name!r}", mend)
    if isinstance(rule.action, Proxy) and rule.action.address is not None:
        address = rule.action.address
        if address.lower() not in cells.by_address:
            known = ", ".join(sorted(cells.by_address))
            message = f"no cell has the address {address!r}"
            yield Finding(
                "error", rule.id, "proxy.address", message, f"add such a cell, or use: {known}"
            )


def _named_cells(rule: Rule) -> Iterator[tuple[str, str]]:
    for field in POLICY_FIELDS:
        policy = getattr(rule.policies, field)
        if isinstance(policy, UseCell):
            yield field, policy.name
        elif isinstance(policy, UseWeighted) and policy.weights:
            yield from ((field, name) for name, _ in policy.weights)
    if isinstance(rule.action, Proxy):
        if rule.action.cell is not None:
            yield "proxy.cell", rule.action.cell
        yield from (("proxy.weighted", name) for name, _ in rule.action.weights or ())


def _warnings(ruleset: Ruleset) -> Iterator[Finding]:
    decided_by: Rule | None = None
    for index, rule in enumerate(ruleset.rules):
        if decided_by is not None:
            message = f"never reached: {decided_by.id} decides every request before it"
            yield Finding("warning", rule.id, "match", message, "move it up or remove it")
        elif _always_decides(rule):
            decided_by = rule
        else:
            shadow = next((r for r in ruleset.rules[:index] if _shadows(r, rule)), None)
            if shadow is not None:
                message = f"never reached: {shadow.id} has the same match and decides first"
                yield Finding("warning", rule.id, "match", message, "merge the two")
        yield from _unstated(rule)
    if decided_by is None:
        message = "a request that no rule matches is refused with 404"
        yield Finding("warning", None, "rules", message, "end with a rule that has no match")


def _always_decides(rule: Rule) -> bool:
    return not rule.matches and _final(rule)


def _final(rule: Rule) -> bool:
    """Whether the rule, once its matches hold, can't hand over to the next one."""
    policies = rule.policies
    if rule.transforms or rule.required or isinstance(policies.on_cell_down, Next):
        return False
    if isinstance(rule.action, Proxy):
        return True
    if rule.action.type is ClassifyType.FIRST_CELL:
        return True
    return not isinstance(policies.on_unknown, Next) and not _captures(rule)


def _captures(rule: Rule) -> bool:
    action = rule.action
    if isinstance(action, Proxy):
        return False
    templates = [action.value] if action.value else [template for _, template in action.claims]
    return any(template.references for template in templates)


def _shadows(earlier: Rule, later: Rule) -> bool:
    return _final(earlier) and bool(earlier.matches) and set(earlier.matches) <= _set(later.matches)


def _set(matches: tuple[Match, ...]) -> set[Match]:
    return set(matches)


def _unstated(rule: Rule) -> Iterator[Finding]:
    needed = ["on_cell_down"]
    if isinstance(rule.action, Classify):
        needed += ["on_unknown"]
        if rule.action.type is ClassifyType.CLAIM or rule.transforms:
            needed += ["on_classifier_down"]
    for field in needed:
        if field not in rule.stated_policies:
            policy = getattr(rule.policies, field)
            message = f"not stated, so it is {policy}"
            yield Finding("warning", rule.id, field, message, "state it in the rule or in defaults")
