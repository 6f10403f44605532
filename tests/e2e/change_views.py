"""Which answers are right at which time: the evaluator's decisions at each revision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from control_plane.routing.admission.admit import Refused
from control_plane.routing.model import Decision, Status, ToCell, Weighted
from tests.e2e.change_operations import Wanted
from tests.e2e.change_rules import Probe
from tests.e2e.steady_clients import GOING_AWAY, Answer, Record


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The answers that are right at one revision."""

    outcomes: Mapping[Probe, Decision | Refused]
    backends: Mapping[str, frozenset[str]]
    unreachable: frozenset[str] = frozenset()
    """Cells of which Envoy has refused the only cluster that it was ever sent."""
    classifier: bool = True
    """Whether the classifier is up."""
    edge: bool = True
    """Whether Envoy is up."""

    def statuses(self, probe: Probe) -> frozenset[int]:
        """Return the statuses that the edge itself may answer."""
        statuses = set() if self.classifier else {503}
        outcome = self.outcomes[probe]
        if isinstance(outcome, Refused):
            statuses.add(outcome.status)
        elif isinstance(outcome.outcome, Status):
            statuses.add(outcome.outcome.code)
        elif self.unreachable & self.cells(probe):
            statuses.add(503)
        return frozenset(statuses)

    def cells(self, probe: Probe) -> frozenset[str]:
        """Return the cells that may answer."""
        decision = self.outcomes[probe]
        if isinstance(decision, Refused):
            return frozenset()
        if isinstance(decision.outcome, ToCell):
            return frozenset({decision.outcome.cell})
        if isinstance(decision.outcome, Weighted):
            return frozenset(name for name, weight in decision.outcome.choices if weight)
        return frozenset()


def backends_of(wanted: Wanted) -> dict[str, frozenset[str]]:
    """Return the backends of each cell."""
    return {name: frozenset(cell.backends) for name, cell in wanted.cells.items()}


class Timeline:
    """The views that hold from each moment on: several while a change is under way."""

    def __init__(self, view: View) -> None:
        self._from: list[tuple[float, tuple[View, ...]]] = [(0.0, (view,))]

    @property
    def newest(self) -> tuple[View, ...]:
        """The views that hold now."""
        return self._from[-1][1]

    def add(self, since: float, views: Iterable[View]) -> None:
        """Note views that hold from a moment on."""
        self._from.append((since, tuple(views)))

    def forget(self, before: float) -> None:
        """Drop the views that had ended by then."""
        lasting = [one for one, later in pairwise(self._from) if later[0] >= before]
        self._from = [*lasting, self._from[-1]]

    def fault(self, record: Record) -> str | None:
        """Return what is wrong with an answer; None if it was right at some time of its request."""
        views = self._at(record.begun, record.ended)
        answer, probe = record.answer, record.probe
        if _right(answer, probe, views):
            return None
        cells = {
            f"{cell} at {'/'.join(sorted(view.backends[cell]))}"
            for view in views
            for cell in view.cells(probe)
        }
        statuses = {str(code) for view in views for code in view.statuses(probe)}
        allowed = " or ".join(sorted(cells | statuses))
        return (
            f"{record.connection}: {probe.target} {dict(probe.headers)} got {answer}, not {allowed}"
        )

    def _at(self, begun: float, ended: float) -> tuple[View, ...]:
        at_that_time: list[View] = []
        for index, (since, views) in enumerate(self._from):
            until = self._from[index + 1][0] if index + 1 < len(self._from) else ended
            if since <= ended and until >= begun:
                at_that_time += views
        return tuple(at_that_time)


def _right(answer: Answer, probe: Probe, views: tuple[View, ...]) -> bool:
    if answer.status <= 0:
        return answer.status == GOING_AWAY or not all(view.edge for view in views)
    if not answer.backend:
        return any(answer.status in view.statuses(probe) for view in views)
    named = any(answer.cell in view.cells(probe) for view in views)
    reached = any(answer.backend in view.backends.get(answer.cell, frozenset()) for view in views)
    return answer.status == 200 and named and reached
