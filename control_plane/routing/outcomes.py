"""What a rule's keys, cells and policies come to, whatever the request.

Two ask these functions: the evaluator for one request, and the compiler once for all the keys
there are, to translate the outcomes into Envoy's messages. So which cells take traffic, and what a
key without a cell gets, is decided here and nowhere else.

A function that answers None hands the request to the next rule. With the cells cell-1 (serving)
and cell-2 (down), the rule ``{"classify": {"type": "SESSION_PREFIX", "value": "${p}"},
"on_unknown": "next", "on_cell_down": 503}`` comes to

    key_outcomes(rule, cells) == KeyOutcomes(
        serving={"cell-1": ToCell("cell-1", 1)},
        down=("cell-2",),
        on_down=Status(503, retry_after=5),
        on_unknown=None,
    )
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from control_plane.names import cell_id
from control_plane.routing.model import Cell, Cells, Outcome, Reason, Status, ToCell, Weighted
from control_plane.routing.rules.ruleset import (
    Classify,
    ClassifyType,
    Next,
    Policies,
    Policy,
    Proxy,
    Rule,
    Ruleset,
    UseCell,
    UseStatus,
)
from control_plane.routing.shares import Taker, shared_out

RETRY_AFTER_S = 5
"""What a request that is refused for now is told to wait, in seconds."""
_RETRIED = frozenset({429, 503})

Weights = tuple[tuple[str, int], ...]
"""Names of cells, each with its weight."""


def refusal(code: int, reason: Reason = Reason.RULESET) -> Status:
    """Return the refusal with this status; 429 and 503 say when to try again."""
    return Status(code, RETRY_AFTER_S if code in _RETRIED else None, reason)


NO_RULE = refusal(404, Reason.NO_RULE)
"""What a request gets that no rule matches."""
UNAVAILABLE = refusal(503, Reason.CELL_DOWN)
"""What a request gets whose cell is not serving, where no policy says anything else."""
NO_CLASSIFIER = refusal(503, Reason.CLASSIFIER_DOWN)
"""What a request gets that needs a classifier, where none answers and no policy says anything."""
CELL_NOT_HERE = refusal(503, Reason.CELL_NOT_HERE)
"""What a request gets whose cell the Envoy does not have."""
FROZEN = refusal(503, Reason.FROZEN)
"""What a request gets that a move of its tenant refuses for now."""
MISDIRECTED = refusal(503, Reason.MISDIRECTED)
"""What a request gets that its cell has refused as not its own."""


def policy_outcome(policy: Policy, cells: Cells, reason: Reason = Reason.RULESET) -> Outcome | None:
    """Return what a policy answers: never a cell that is not serving.

    Args:
        policy: The policy.
        cells: All cells.
        reason: Why the policy is asked; a refusal by it tells so.
    """
    if isinstance(policy, Next):
        return None
    if isinstance(policy, UseStatus):
        return refusal(policy.code, reason)
    if isinstance(policy, UseCell):
        cell = cells.by_name.get(policy.name)
        return UNAVAILABLE if cell is None else cells.serving.get(cell.id, UNAVAILABLE)
    return weighted_outcome(policy.weights, cells) or UNAVAILABLE


def weighted_outcome(weights: Weights | None, cells: Cells) -> Weighted | None:
    """Return the cells to choose from, by weight; None if none of them takes traffic.

    Args:
        weights: The cells to choose from, those that are not serving left out; None: all cells
            that take new traffic, by their own weights. If some of them take new traffic (they are
            neither cordoned nor draining, for example), the others get none.
    """
    choices = cells.weighted if weights is None else _choices(weights, cells)
    return Weighted(choices) if choices else None


def _choices(weights: Weights, cells: Cells) -> Weights:
    """Return the cells that a rule chooses from, drains taken into account."""
    serving = [
        (cell, weight)
        for name, weight in weights
        if weight and (cell := cells.by_name.get(name)) is not None and cell.id in cells.serving
    ]
    taken = shared_out(
        Taker(cell.name, weight, cell.share) for cell, weight in serving if cell.takes_new
    )
    return taken or tuple((cell.name, weight) for cell, weight in serving)


def cell_outcome(cell: Cell | None, policies: Policies, cells: Cells) -> Outcome | None:
    """Return what a request for this cell gets; a ``cell`` of None is that of an unknown key."""
    if cell is None:
        return policy_outcome(policies.on_unknown, cells, Reason.UNKNOWN)
    down = policies.on_cell_down
    return cells.serving.get(cell.id) or policy_outcome(down, cells, Reason.CELL_DOWN)


def proxied_cell(action: Proxy, cells: Cells) -> Cell | None:
    """Return the cell that an action names, by its name or address."""
    if action.cell is not None:
        return cells.by_name.get(action.cell)
    return None if action.address is None else cells.by_address.get(action.address.lower())


def keyed_cell(kind: ClassifyType, key: str, cells: Cells) -> Cell | None:
    """Return the cell that a key names, for the kinds SESSION_PREFIX and CELL_ID."""
    if kind is ClassifyType.SESSION_PREFIX:
        return cells.by_prefix.get(key)
    number = cell_id(key)
    return None if number is None else cells.by_id.get(number)


def keyed_cells(kind: ClassifyType, cells: Cells) -> Mapping[str, Cell]:
    """Return every key for which `keyed_cell` has a cell, with that cell."""
    if kind is ClassifyType.SESSION_PREFIX:
        return cells.by_prefix
    return {str(number): cell for number, cell in cells.by_id.items()}


def fixed_outcome(rule: Rule, cells: Cells) -> Outcome | None:
    """Return what a rule gives every request that it matches.

    Args:
        rule: A rule whose answer depends on no part of the request: it proxies, or it classifies
            by FIRST_CELL or by a key without references.
    """
    action = rule.action
    if isinstance(action, Classify):
        return cell_outcome(_constant_cell(action, cells), rule.policies, cells)
    if action.names_cell:
        return cell_outcome(proxied_cell(action, cells), rule.policies, cells)
    spread = weighted_outcome(action.weights, cells)
    return spread or policy_outcome(rule.policies.on_cell_down, cells, Reason.CELL_DOWN)


def _constant_cell(action: Classify, cells: Cells) -> Cell | None:
    if action.type is ClassifyType.FIRST_CELL:
        return cells.first
    assert action.value is not None
    return keyed_cell(action.type, action.value.source, cells)


@dataclass(frozen=True, slots=True)
class KeyOutcomes:
    """What a rule that classifies by a key of the request gives for each key."""

    serving: Mapping[str, ToCell]
    """By key, the outcome of each cell that takes traffic."""
    down: tuple[str, ...]
    """The keys of the other cells."""
    on_down: Outcome | None
    on_unknown: Outcome | None


def key_outcomes(rule: Rule, cells: Cells) -> KeyOutcomes:
    """Return what a rule gives for each key; it classifies by SESSION_PREFIX or CELL_ID."""
    assert isinstance(rule.action, Classify)
    keyed = keyed_cells(rule.action.type, cells)
    serving = {
        key: outcome
        for key, cell in keyed.items()
        if (outcome := cells.serving.get(cell.id)) is not None
    }
    return KeyOutcomes(
        serving,
        tuple(key for key in keyed if key not in serving),
        policy_outcome(rule.policies.on_cell_down, cells, Reason.CELL_DOWN),
        policy_outcome(rule.policies.on_unknown, cells, Reason.UNKNOWN),
    )


def classifier_down_outcome(rule: Rule, cells: Cells) -> Outcome | None:
    """Return what a request gets for which the rule needs a classifier that does not answer."""
    policy = rule.policies.on_classifier_down
    return policy_outcome(policy, cells, Reason.CLASSIFIER_DOWN)


def refusal_codes(ruleset: Ruleset) -> frozenset[int]:
    """Return every status that a decision by this ruleset may have."""
    stated = {
        policy.code
        for rule in ruleset.rules
        for policy in rule.policies.all
        if isinstance(policy, UseStatus)
    }
    return frozenset({NO_RULE.code, UNAVAILABLE.code, *stated})
