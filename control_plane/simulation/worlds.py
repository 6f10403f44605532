"""What a request is decided by: a ruleset and cells. Two such worlds are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from control_plane.routing.evaluate import Evaluation
from control_plane.routing.model import Cells, ClaimKey, Decision, Request
from control_plane.routing.rules.ruleset import Ruleset

Lookup = Callable[[Sequence[ClaimKey]], Sequence[int | None]]
"""Returns for each claim the id of the cell that owns it, or None."""


@dataclass(frozen=True, slots=True)
class World:
    """A ruleset, and the cells that it decides between."""

    ruleset: Ruleset
    cells: Cells


def decide_all(world: World, requests: Sequence[Request], owners: Lookup) -> list[Decision]:
    """Decide many requests with few look-ups: all that wait for owners are looked up together."""
    decisions: dict[int, Decision] = {}
    waiting: list[tuple[int, Evaluation, tuple[ClaimKey, ...]]] = []

    def take(place: int, evaluation: Evaluation, said: Decision | tuple[ClaimKey, ...]) -> None:
        if isinstance(said, Decision):
            decisions[place] = said
        else:
            waiting.append((place, evaluation, said))

    for place, request in enumerate(requests):
        evaluation = Evaluation(world.ruleset, request, world.cells, trace=False)
        take(place, evaluation, evaluation.resume())
    while waiting:
        asked, waiting = waiting, []
        keys = list(dict.fromkeys(key for _, _, claims in asked for key in claims))
        owned = dict(zip(keys, owners(keys), strict=True))
        for place, evaluation, claims in asked:
            take(place, evaluation, evaluation.resume([owned[key] for key in claims]))
    return [decisions[place] for place in range(len(requests))]


class SharedRules:
    """Tells from one world's decision whether the other's is the same, without making it.

    A proposed ruleset mostly differs from the active one in a rule or two. What a rule before the
    first difference decides, both decide alike: no later rule was asked. That holds only if the
    cells are the same too.
    """

    def __init__(self, before: World, after: World) -> None:
        pairs = zip(before.ruleset.rules, after.ruleset.rules, strict=False)
        shared = [] if before.cells is not after.cells else pairs
        ids = [rule.id for rule, _ in takewhile(lambda pair: pair[0] == pair[1], shared)]
        self._ids = frozenset(ids)
        self._all = before.cells is after.cells and before.ruleset.rules == after.ruleset.rules

    def decide(self, decision: Decision) -> bool:
        """Return whether both worlds decide so."""
        return self._all or decision.rule in self._ids
