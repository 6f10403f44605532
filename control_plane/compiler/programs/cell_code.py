"""The part of a program that depends on the cells, and the answers that it may give.

An answer's text is its key in a hash map of Envoy. Rule 19 with cells 7 and 8, of which 8 is down,
and policies that refuse, has

    19:7          the cell
    19:8          the refusal of on_cell_down
    19=unknown    the refusal of on_unknown

A policy that hands over to the next rule has no answer: the program goes on by itself. Nor has an
on_cell_down that spreads requests over cells, because each cell that is down would be a route to
all others.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from control_plane.compiler.programs import limits
from control_plane.compiler.programs.rule_code import is_fixed
from control_plane.compiler.programs.writing import u32
from control_plane.routing.model import Cell, Cells, Outcome, Reason, Weighted
from control_plane.routing.outcomes import fixed_outcome, policy_outcome
from control_plane.routing.rules.ruleset import Classify, ClassifyType, Rule

NATIVE, EDGE_MAP = "native", "edge-map"
_TOO_MANY, _ON_UNKNOWN, _ON_DOWN, _ON_INVALID, _ON_FIXED, _DOWN_SPREADS = (
    1 << bit for bit in range(6)
)


class Answer(NamedTuple):
    """What a program answers: the rule, what it comes to, and the tier that debug callers see."""

    rule: Rule
    outcome: Outcome
    tier: str


_new = tuple.__new__
"""Makes a named tuple at a third of the cost of calling its class: there are many answers."""


@dataclass(frozen=True, slots=True)
class CellPart:
    """The end of a program, and its answers by their texts."""

    code: bytes
    answers: Mapping[str, Answer]
    without_cells: frozenset[int]
    """The indexes of the rules that would have too many answers."""


def tier_of(rule: Rule) -> str:
    """Return the tier by which a program answers a rule."""
    action = rule.action
    claim = isinstance(action, Classify) and action.type is ClassifyType.CLAIM
    return EDGE_MAP if claim else NATIVE


def encode_cells(rules: Sequence[Rule], cells: Cells) -> CellPart:
    """Return what a program has of the cells.

    Rules whose key names a cell come first to their answers, then claims in the ruleset's order, as
    long as there is room: at most `limits.MAX_ANSWERS`.
    """
    answers: dict[str, Answer] = {}
    flags: list[int] = [0] * len(rules)
    for index, rule in enumerate(rules):
        flags[index] = _policies(index, rule, cells, answers)
    keyed = [index for index, rule in enumerate(rules) if not is_fixed(rule)]
    keyed.sort(key=lambda index: tier_of(rules[index]) == EDGE_MAP)
    for index in keyed:
        reached = _reached(rules[index], cells)
        if len(answers) + len(reached) > limits.MAX_ANSWERS:
            flags[index] |= _TOO_MANY
        else:
            answers |= _cell_answers(index, rules[index], reached, cells)
    code = _cells(cells.all, cells.serving) + bytes(flags)
    without = frozenset(index for index in keyed if flags[index] & _TOO_MANY)
    return CellPart(code, answers, without)


def _policies(index: int, rule: Rule, cells: Cells, answers: dict[str, Answer]) -> int:
    """Add what a rule gives without a cell to the answers; return which of its policies do."""
    given: list[tuple[int, str, Outcome | None]] = []
    if rule.transforms:
        invalid = policy_outcome(rule.policies.on_invalid, cells, Reason.INVALID)
        given.append((_ON_INVALID, "invalid", invalid))
    if is_fixed(rule):
        given.append((_ON_FIXED, "fixed", fixed_outcome(rule, cells)))
    else:
        unknown = policy_outcome(rule.policies.on_unknown, cells, Reason.UNKNOWN)
        given.append((_ON_UNKNOWN, "unknown", unknown))
    down = policy_outcome(rule.policies.on_cell_down, cells, Reason.CELL_DOWN)
    flags = 0 if down is None else _ON_DOWN
    if isinstance(down, Weighted):
        flags |= _DOWN_SPREADS
    tier = tier_of(rule)
    for flag, word, outcome in given:
        if outcome is not None:
            flags |= flag
            answers[f"{index}={word}"] = Answer(rule, outcome, tier)
    return flags


def _cell_answers(
    index: int, rule: Rule, reached: Collection[Cell], cells: Cells
) -> dict[str, Answer]:
    """Return the answer for each cell that a key of the rule can lead to."""
    tier = tier_of(rule)
    down = policy_outcome(rule.policies.on_cell_down, cells, Reason.CELL_DOWN)
    refused = None
    if down is not None and not isinstance(down, Weighted):
        refused = Answer(rule, down, tier)
    serving = cells.serving
    made = {
        f"{index}:{cell.id}": _new(Answer, (rule, serving[cell.id], tier))
        for cell in reached
        if cell.id in serving
    }
    if refused is not None:
        made |= {f"{index}:{cell.id}": refused for cell in reached if cell.id not in serving}
    return made


def _reached(rule: Rule, cells: Cells) -> Collection[Cell]:
    assert isinstance(rule.action, Classify)
    prefix = rule.action.type is ClassifyType.SESSION_PREFIX
    return cells.by_prefix.values() if prefix else cells.all


def _cells(every: Sequence[Cell], serving: Mapping[int, object]) -> bytes:
    """Return ids and states of the cells, then their session prefixes."""
    pack = struct.Struct("<QB").pack
    head = struct.Struct("<IH").pack
    parts = [u32(len(every))]
    parts += [pack(cell.id, cell.id in serving) for cell in every]
    prefixes = [
        (number, cell.session_prefix.encode())
        for number, cell in enumerate(every)
        if cell.session_prefix
    ]
    parts.append(u32(len(prefixes)))
    for number, prefix in prefixes:
        parts.append(head(number, len(prefix)))
        parts.append(prefix)
    return b"".join(parts)
