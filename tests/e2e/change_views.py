"""Which answers are right, and when: the evaluator's word at each revision, in order of time."""

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
    """What may be answered at one revision."""

    outcomes: Mapping[Probe, Decision | Refused]
    backends: Mapping[str, frozenset[str]]
    unreachable: frozenset[str] = frozenset()
    """Cells of which Envoy has refused the only cluster that it was ever sent."""
    classifier: bool = True
    """Whether the classifier is up."""
    edge: bool = True
    """Whether Envoy is up."""

    def statuses(self, probe: Probe) -> frozenset[int]:
        """What may come without a backend."""
        found = set() if self.classifier else {503}
        outcome = self.outcomes[probe]
        if isinstance(outcome, Refused):
            found.add(outcome.status)
        elif isinstance(outcome.outcome, Status):
            found.add(outcome.outcome.code)
        elif self.unreachable & self.cells(probe):
            found.add(503)
        return frozenset(found)

    def cells(self, probe: Probe) -> frozenset[str]:
        """The cells that may answer."""
        decision = self.outcomes[probe]
        if isinstance(decision, Refused):
            return frozenset()
        if isinstance(decision.outcome, ToCell):
            return frozenset({decision.outcome.cell})
        if isinstance(decision.outcome, Weighted):
            return frozenset(name for name, weight in decision.outcome.choices if weight)
        return frozenset()


def backends_of(wanted: Wanted) -> dict[str, frozenset[str]]:
    """Where each cell's requests end."""
    return {name: frozenset(cell.backends) for name, cell in wanted.cells.items()}


class Timeline:
    """The views that hold from each moment on; several where a change is under way."""

    def __init__(self, view: View) -> None:
        self._from: list[tuple[float, tuple[View, ...]]] = [(0.0, (view,))]

    @property
    def newest(self) -> tuple[View, ...]:
        """What holds now."""
        return self._from[-1][1]

    def add(self, since: float, views: Iterable[View]) -> None:
        """These hold from then on."""
        self._from.append((since, tuple(views)))

    def forget(self, before: float) -> None:
        """Drop what had ended by then."""
        kept = [one for one, later in pairwise(self._from) if later[0] >= before]
        self._from = [*kept, self._from[-1]]

    def fault(self, record: Record) -> str | None:
        """What is wrong with an answer; None if it was right at some moment of its request."""
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
        found: list[View] = []
        for index, (since, views) in enumerate(self._from):
            until = self._from[index + 1][0] if index + 1 < len(self._from) else ended
            if since <= ended and until >= begun:
                found += views
        return tuple(found)


def _right(answer: Answer, probe: Probe, views: tuple[View, ...]) -> bool:
    if answer.status <= 0:
        return answer.status == GOING_AWAY or not all(view.edge for view in views)
    if not answer.backend:
        return any(answer.status in view.statuses(probe) for view in views)
    named = any(answer.cell in view.cells(probe) for view in views)
    reached = any(answer.backend in view.backends.get(answer.cell, frozenset()) for view in views)
    return answer.status == 200 and named and reached
