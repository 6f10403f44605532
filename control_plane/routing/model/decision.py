"""What the evaluator answers: an outcome, and how it came to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

ClaimKey = tuple[str, str]
"""A bucket and a value in it, for example ``("route", "gitlab-org")``, as a rule spells them.

It is the plain pair that the topology's look-ups take (`topology.values.KeyPair`), so nothing is
converted between the two rooms.
"""


@dataclass(frozen=True, slots=True)
class ToCell:
    """The request belongs to this one cell."""

    cell: str
    cell_id: int


@dataclass(frozen=True, slots=True)
class Weighted:
    """Any of these cells may serve the request; the edge picks one by weight."""

    choices: tuple[tuple[str, int], ...]
    """Names of cells, each with its weight."""


class Reason(StrEnum):
    """Why a request is refused, as the refusal's body tells."""

    NO_RULE = "no-rule"
    UNKNOWN = "unknown"
    """No cell has the key that the rule looked for."""
    INVALID = "invalid"
    """A token could not be decoded."""
    CELL_DOWN = "cell-down"
    """The cell is down, or takes no requests in its state."""
    CLASSIFIER_DOWN = "classifier-down"
    """No classifier has answered, and only one could tell the cell."""
    CELL_NOT_HERE = "cell-not-here"
    """The Envoy has not heard of the cell yet, or no longer has it."""
    MISDIRECTED = "misdirected"
    """The cell says that the request is not its own (421)."""
    FROZEN = "frozen"
    """A move of a tenant holds the claim, and refuses this request for now."""
    RULESET = "ruleset"
    """The ruleset refuses it, for a reason that is not known here."""


@dataclass(frozen=True, slots=True)
class Status:
    """The request is refused with this HTTP status; ``retry_after`` is in seconds.

    Two refusals with the same status are the same decision, whatever their reasons.
    """

    code: int
    retry_after: int | None = None
    reason: Reason = field(default=Reason.RULESET, compare=False)


Outcome = ToCell | Weighted | Status


@dataclass(frozen=True, slots=True)
class Step:
    """What one rule had to say: ``result`` is one word, ``why`` a sentence."""

    rule: str
    result: str
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a request goes, by which rule, for which key, and why."""

    outcome: Outcome
    rule: str | None
    key: str | None
    reason: str
    matched_claim: ClaimKey | None = None
    trace: tuple[Step, ...] = field(default=())

    @property
    def cell(self) -> str | None:
        """The name of the one cell that was chosen; None if it is no single one."""
        return self.outcome.cell if isinstance(self.outcome, ToCell) else None

    def allows(self, cell: str) -> bool:
        """Return whether ``cell`` may serve the request under this decision."""
        if isinstance(self.outcome, ToCell):
            return self.outcome.cell == cell
        if isinstance(self.outcome, Weighted):
            return any(name == cell and weight > 0 for name, weight in self.outcome.choices)
        return False
