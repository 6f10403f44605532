"""Decides whether a cell is up: by what the edges of all control planes report, else by a probe.

Each control plane hears some of the edges. It writes down what they report, and in the same
transaction reads what all control planes have written, and decides. Such transactions come one
after the other, so the last one to decide has seen every report: two control planes with different
halves of the fleet can't contradict each other.

A report counts the edges that can reach a cell and those that can't, and the edges that are
connected but report nothing::

    {"cells": {"cell-1": [12, 0], "cell-2": [3, 9]}, "silent": 1}
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from control_plane.topology.cells import lifecycle
from control_plane.topology.storage import Store, Transaction, clock, moment, schema
from control_plane.topology.values import CellState

FRESH = timedelta(seconds=10)
"""How long a control plane's report counts after it was last written."""
KEPT = timedelta(hours=1)
"""How long a report is kept after it was last written."""
PROBED = frozenset({CellState.CANARY, CellState.ACTIVE, CellState.CORDONED, CellState.DRAINING})
"""The states in which a cell's health matters."""
_T = schema.edge_health
Verdicts = Mapping[str, bool | None]
"""By the cell's name, whether it is up; None if its health must stay as it is."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What a decision has changed, and which cells it left as they were.

    ``put_off`` are cells that must not change now. ``disbelieved`` are cells whose failure is not
    believed, because edges report too many failures at once.
    """

    changed: Mapping[str, bool]
    put_off: frozenset[str] = frozenset()
    disbelieved: frozenset[str] = frozenset()


class EdgeHealth:
    """The reports of all control planes, and what follows from them for the cells."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def note(
        self,
        replica: str,
        counts: Mapping[str, tuple[int, int]],
        *,
        silent: int = 0,
        on_hold: Collection[str] = (),
    ) -> Decided:
        """Write a control plane's report, and set the health of cells by all reports.

        Args:
            replica: the control plane.
            counts: by the cell's name, how many of its edges can reach the cell, and how many
                can't. A name of no cell is left out: an edge that makes up many would otherwise
                decide whether "most cells" go down.
            silent: how many more edges it has that report nothing.
            on_hold: names of cells that must not change now.
        """

        def work(tx: Transaction) -> Decided:
            known = _names(tx.connection)
            pairs = {name: list(pair) for name, pair in sorted(counts.items()) if name in known}
            document = json.dumps({"cells": pairs, "silent": silent})
            row = {"said": document, "at": tx.at}
            own = update(_T).where(_T.c.replica == replica).values(**row)
            if tx.connection.execute(own).rowcount == 0:
                tx.connection.execute(insert(_T).values(replica=replica, **row))
                tx.connection.execute(delete(_T).where(_T.c.at < tx.at - KEPT))
            return _decide(tx, _verdicts(tx.connection, FRESH, tx.at), frozenset(on_hold))

        return self._store.write("edges", work)[0]

    def probed(self, health: Mapping[str, bool]) -> Mapping[str, bool]:
        """Set the health of cells as a probe says; return what changed.

        A cell that edges report on is left as it is.
        """

        def work(tx: Transaction) -> Decided:
            verdicts = _verdicts(tx.connection, FRESH, tx.at)
            unreported = {name: up for name, up in health.items() if name not in verdicts}
            return _decide(tx, unreported, frozenset())

        return self._store.write("health", work)[0].changed

    def withdraw(self, replica: str) -> None:
        """Make a control plane's report too old to count, because the control plane stops."""

        def work(tx: Transaction) -> None:
            # SQLite's clock, by which a reader judges, may be a millisecond behind ``tx.at``.
            old = {"at": tx.at - 2 * FRESH}
            tx.connection.execute(update(_T).where(_T.c.replica == replica).values(**old))

        self._store.write("edges", work)

    def verdicts(self, within: timedelta = FRESH) -> Verdicts:
        """Return the verdicts by the reports that were written ``within`` this time."""
        with self._store.read() as connection:
            return _verdicts(connection, within)


def judge(counts: Mapping[str, tuple[int, int]], silent: int = 0) -> Verdicts:
    """Return which cells are up, by how many edges can reach each of them and how many can't.

    A cell is down if more than half of its edges can't reach it. But edges that lose most of the
    cells at once are more likely cut off themselves. So a failure is not believed (None) if more
    than half of the cells would go down although some edges can reach them, or although ``silent``
    edges may reach them.
    """
    reported = {name: pair for name, pair in counts.items() if any(pair)}
    failed = {name for name, (up, down) in reported.items() if down > up and (up or silent)}
    too_many = len(failed) * 2 > len(reported)
    return {
        name: None if too_many and name in failed else up >= down
        for name, (up, down) in reported.items()
    }


def _verdicts(connection: Connection, within: timedelta, now: datetime | None = None) -> Verdicts:
    rows = connection.execute(select(_T.c.said, _T.c.at)).all()
    if not rows:
        return {}
    now = now or clock(connection)
    known = _names(connection)
    up: Counter[str] = Counter()
    down: Counter[str] = Counter()
    silent = 0
    for row in rows:
        if now - moment(row.at) < within:
            report = json.loads(row.said)
            silent += report["silent"]
            for name, (can, can_not) in report["cells"].items():
                if name in known:
                    up[name] += can
                    down[name] += can_not
    return judge({name: (up[name], down[name]) for name in up}, silent)


def _names(connection: Connection) -> frozenset[str]:
    return frozenset(connection.execute(select(schema.cells.c.name)).scalars())


def _decide(tx: Transaction, verdicts: Verdicts, on_hold: frozenset[str]) -> Decided:
    health = {name: up for name, up in verdicts.items() if up is not None}
    disbelieved = frozenset(verdicts.keys() - health.keys())
    if not health:
        return Decided({}, disbelieved=disbelieved)
    table = schema.cells
    rows = tx.connection.execute(select(table.c.name, table.c.healthy, table.c.state)).all()
    changes = {
        row.name: health[row.name]
        for row in rows
        if row.state in PROBED and health.get(row.name, row.healthy) != row.healthy
    }
    changed = {name: up for name, up in changes.items() if name not in on_hold}
    for name, up in changed.items():
        lifecycle.set_health(tx, name, healthy=up)
    return Decided(changed, frozenset(changes) & on_hold, disbelieved)
