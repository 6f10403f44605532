"""Says what can't work in a ruleset and what will never be used, before traffic shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from control_plane.names import INTERNAL_PREFIX
from control_plane.routing.admission.headers import UNSEEN_BY_RULES
from control_plane.routing.model import Cell
from control_plane.routing.rules.document import Document
from control_plane.routing.rules.limits import MAX_FINDINGS
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
    UseStatus,
    UseWeighted,
)

MAX_LISTED = 20
"""Names in a hint."""
MISDIRECTED_STATUS = 421
"""What a cell answers to a request that is not its own."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark about a ruleset, with a hint at what to do."""

    severity: str
    """``error``: it can't work; ``warning``: it is probably not what was meant."""
    rule: str | None
    field: str
    message: str
    hint: str


def lint(document: Document, cells: Iterable[Cell] | None = None) -> list[Finding]:
    """Return everything worth saying about a ruleset, errors first, at most `MAX_FINDINGS`.

    Args:
        cells: The cells that rules may name, retired ones included; None: names are not checked.
    """
    try:
        ruleset = parse(document)
    except RulesetError as error:
        return [Finding("error", p.rule, p.field, p.message, p.hint) for p in error.problems]
    errors = _errors(ruleset, None if cells is None else _Names.of(cells))
    findings = list(islice(errors, MAX_FINDINGS))
    return [*findings, *islice(_warnings(ruleset), MAX_FINDINGS - len(findings))]


@dataclass(frozen=True, slots=True)
class _Names:
    """What rules may call cells by."""

    names: frozenset[str]
    addresses: frozenset[str]

    @classmethod
    def of(cls, cells: Iterable[Cell]) -> _Names:
        """Return the cells' names, and their addresses in lower case."""
        given = tuple(cells)
        names = frozenset(cell.name for cell in given)
        return cls(names, frozenset(cell.address.lower() for cell in given))


def _errors(ruleset: Ruleset, cells: _Names | None) -> Iterator[Finding]:
    for rule in ruleset.rules:
        yield from _unseen_headers(rule)
        yield from _references(rule)
        if cells is not None:
            yield from _unknown_cells(rule, cells)


def _unseen_headers(rule: Rule) -> Iterator[Finding]:
    for name in (name for match in rule.matches for name in match.literal_names):
        if name in UNSEEN_BY_RULES or name.startswith(INTERNAL_PREFIX):
            message = f"no rule can see {name}: the edge removes it or has its own"
            hint = "match a header that gets to the cell as the client sent it"
            yield Finding("error", rule.id, "match.name", message, hint)


def _references(rule: Rule) -> Iterator[Finding]:
    captures = {
        group
        for match in rule.matches
        if not match.invert
        for regex in (match.name, match.value)
        if regex
        for group in regex.groups
    }
    outputs: _Outputs = {}
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


_Outputs = dict[str, frozenset[str] | None]
"""By transform, the keys that it gives; None: those of a token, which can't be listed."""


def _unresolved(
    rule: Rule, field: str, reference: Template | str, captures: set[str], outputs: _Outputs
) -> Iterator[Finding]:
    """Report each name of a reference that neither a capture nor an earlier transform gives."""
    for name in (reference,) if isinstance(reference, str) else reference.references:
        output, dot, key = name.partition(".")
        if not dot and name not in captures:
            there = ", ".join(sorted(captures)) or "none"
            hint = f"name a capture (?<{name}>…) in match; there are: {there}"
            yield Finding("error", rule.id, field, f"{name} is captured nowhere", hint)
        elif dot and output not in outputs:
            hint = f"add a transform with output {output!r} before it is used"
            yield Finding("error", rule.id, field, f"no transform makes {output}", hint)
        elif dot and (keys := outputs[output]) is not None and key not in keys:
            hint = f"name a capture (?<{key}>…) in the transform's regexValue"
            yield Finding("error", rule.id, field, f"{output} has no {key}", hint)


def _unknown_cells(rule: Rule, cells: _Names) -> Iterator[Finding]:
    hint = f"use one of: {_listed(cells.names) or '(there are no cells)'}"
    for field, name in _named_cells(rule):
        if name not in cells.names:
            yield Finding("error", rule.id, field, f"there is no cell {name!r}", hint)
    address = rule.action.address if isinstance(rule.action, Proxy) else None
    if address is not None and address.lower() not in cells.addresses:
        message = f"no cell has the address {address!r}"
        hint = f"add such a cell, or use: {_listed(cells.addresses)}"
        yield Finding("error", rule.id, "proxy.address", message, hint)


def _listed(names: frozenset[str]) -> str:
    """Return the first `MAX_LISTED` of some names."""
    return ", ".join(sorted(names)[:MAX_LISTED]) + (" …" if len(names) > MAX_LISTED else "")


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
    shadows = _Shadows()
    for rule in ruleset.rules:
        if decided_by is not None:
            message = f"never reached: {decided_by.id} decides every request before it"
            yield Finding("warning", rule.id, "match", message, "move it up or remove it")
        elif _always_decides(rule):
            decided_by = rule
        else:
            shadow = shadows.of(rule)
            if shadow is not None:
                message = f"never reached: {shadow.id} has the same match and decides first"
                yield Finding("warning", rule.id, "match", message, "merge the two")
        yield from _unstated(rule)
        yield from _misdirected(rule)
    if decided_by is None:
        message = "a request that no rule matches is refused with 404"
        yield Finding("warning", None, "rules", message, "end with a rule that has no match")


def _always_decides(rule: Rule) -> bool:
    return not rule.matches and _final(rule)


def _final(rule: Rule) -> bool:
    """Return whether the rule, once its matches hold, can't hand over to the next one."""
    policies = rule.policies
    if rule.transforms or rule.required or isinstance(policies.on_cell_down, Next):
        return False
    if isinstance(rule.action, Proxy):
        return True
    if rule.action.type is ClassifyType.FIRST_CELL:
        return True
    return not isinstance(policies.on_unknown, Next) and not _key_has_captures(rule.action)


def _key_has_captures(action: Classify) -> bool:
    templates = [action.value] if action.value else [template for _, template in action.claims]
    return any(template.references for template in templates)


class _Shadows:
    """Finds the earlier rule that decides every request that a later one matches.

    Each rule is compared with all before it, so matches are numbered: numbers compare quickly.
    """

    def __init__(self) -> None:
        self._numbers: dict[Match, int] = {}
        self._final: list[tuple[frozenset[int], Rule]] = []

    def of(self, rule: Rule) -> Rule | None:
        """Return the first rule that shadows this one; remember this one for those after it."""
        numbers = self._numbers
        matches = frozenset(numbers.setdefault(one, len(numbers)) for one in rule.matches)
        shadow = next((earlier for its, earlier in self._final if its <= matches), None)
        if matches and shadow is None and _final(rule):
            self._final.append((matches, rule))
        return shadow


def _unstated(rule: Rule) -> Iterator[Finding]:
    """Warn of each policy that the rule may need and that nobody has written down."""
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


def _misdirected(rule: Rule) -> Iterator[Finding]:
    """Warn of refusals with the status that the edge takes for a cell's."""
    for field in POLICY_FIELDS:
        policy = getattr(rule.policies, field)
        if isinstance(policy, UseStatus) and policy.code == MISDIRECTED_STATUS:
            message = "the edge takes a 421 for a cell's, so most clients get 503 instead"
            yield Finding("warning", rule.id, field, message, "use another status, such as 404")
