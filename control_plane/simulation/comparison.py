"""Decides the requests of a log in two worlds, and counts where the decisions differ.

The evaluator takes 15 µs for a request, a line of a log should take less. So what was decided once
is remembered by what the rules can see of a request (`Recorded`), and counting a further line like
it costs a look into a dict. What is new waits until there are `PENDING` of it, so that one look-up
serves all of their claims.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from control_plane.routing.admission.admit import Refused, admit
from control_plane.routing.explain import refused_decision
from control_plane.routing.model import Decision, Request
from control_plane.simulation.logs.aspects import Aspects
from control_plane.simulation.logs.log_file import LogFile
from control_plane.simulation.logs.recorded import Recorded, Unreadable
from control_plane.simulation.owners import RememberedOwners
from control_plane.simulation.tally import Group, Tally
from control_plane.simulation.worlds import Lookup, SharedRules, World, decide_all

PENDING = 2000
"""Requests that are decided together."""
REMEMBERED = 50_000
"""Decided requests of one generation; two are remembered, some 50 MiB."""
PROGRESS_LINES = 5000


@dataclass(slots=True)
class _New:
    """A request that has not been decided yet."""

    line: int
    count: int = 1


class Comparison:
    """Decides the requests of one log in two worlds."""

    def __init__(self, before: World, after: World, lookup: Lookup, examples: int) -> None:
        self.tally = Tally(examples)
        self._before = before
        self._after = after
        self._owners = RememberedOwners(lookup)
        self._shared = SharedRules(before, after)
        self._new: dict[Recorded, _New] = {}
        self._decided: dict[Recorded, Group] = {}
        self._older: dict[Recorded, Group] = {}

    def run(
        self, log: LogFile, host: str, progress: Callable[[int], None] = lambda _: None
    ) -> None:
        """Decide all requests of a log.

        Args:
            log: The log.
            host: The host of requests of which the log tells none.
            progress: Is told now and then how many lines have been read.

        Raises:
            BadLog: The log is damaged. What was read before counts.
        """
        reader = log.reader(Aspects((self._before.ruleset, self._after.ruleset)), host)
        read = reader.read
        decided = self._decided
        for line in log:
            if log.lines % PROGRESS_LINES == 0:
                progress(log.lines)
            try:
                recorded = read(line)
            except Unreadable as error:
                self.tally.cannot_read(log.lines, line, str(error))
                continue
            group = decided.get(recorded)
            if group is not None:
                group.count += 1
            else:
                self._meet(log.lines, recorded)
                decided = self._decided
        self._decide_new()
        progress(log.lines)

    def _meet(self, line: int, recorded: Recorded) -> None:
        """Count a request that is not among the newest decided ones."""
        group = self._older.get(recorded)
        if group is not None:
            group.count += 1
            self._remember(recorded, group)
            return
        new = self._new.get(recorded)
        if new is not None:
            new.count += 1
            return
        self._new[recorded] = _New(line)
        if len(self._new) >= PENDING:
            self._decide_new()

    def _remember(self, recorded: Recorded, group: Group) -> None:
        if len(self._decided) >= REMEMBERED:
            self._older, self._decided = self._decided, {}
        self._decided[recorded] = group

    def _decide_new(self) -> None:
        news, self._new = self._new, {}
        befores, afters = self._decisions([_admitted(recorded) for recorded in news])
        for (recorded, new), before, after in zip(news.items(), befores, afters, strict=True):
            group = self.tally.group(new.line, recorded, before, after)
            group.count += new.count
            self._remember(recorded, group)

    def _decisions(
        self, admitted: Sequence[Request | Refused]
    ) -> tuple[list[Decision], list[Decision]]:
        """Return what each world decides; what the edge refuses, it refuses in both."""
        requests = [one for one in admitted if isinstance(one, Request)]
        decided = decide_all(self._before, requests, self._owners)
        rest = [
            (place, request)
            for place, (request, decision) in enumerate(zip(requests, decided, strict=True))
            if not self._shared.decide(decision)
        ]
        others = list(decided)
        again = decide_all(self._after, [request for _, request in rest], self._owners)
        for (place, _), decision in zip(rest, again, strict=True):
            others[place] = decision
        return _with_refused(admitted, decided), _with_refused(admitted, others)


def _admitted(recorded: Recorded) -> Request | Refused:
    return admit(recorded.method, recorded.target, recorded.authority, recorded.headers)


def _with_refused(
    admitted: Sequence[Request | Refused], decisions: Sequence[Decision]
) -> list[Decision]:
    """Put the edge's refusals between the decisions, each in its place."""
    rest = iter(decisions)
    return [refused_decision(one) if isinstance(one, Refused) else next(rest) for one in admitted]
