"""What decides whether a cell is up: the edges of all control planes together, else a probe.

Each control plane hears some of the edges. It writes down what they say, and in the same
transaction reads what all say and decides: writes come one after the other, so the last one to
decide has seen everything, and two control planes with different halves of the fleet can't
contradict each other.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, delete, insert, select, update

from control_plane.topology.cells import lifecycle
from control_plane.topology.storage import schema
from control_plane.topology.storage.statements import clock, moment
from control_plane.topology.storage.store import Store
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.cell import CellState

FRESH = timedelta(seconds=10)
"""How long the word of a control plane counts after it was last written."""
KEPT = timedelta(hours=1)
"""How long it is remembered that there was one."""
PROBED = frozenset({CellState.CANARY, CellState.ACTIVE, CellState.CORDONED, CellState.DRAINING})
"""The states in which a cell's health matters."""
_T = schema.edge_health


@dataclass(frozen=True, slots=True)
class Decided:
    """What a decision has changed, and which cells it has left as they were: for a while, or
    because what edges say of so many can't be believed.
    """

    changed: Mapping[str, bool]
    put_off: frozenset[str] = frozenset()
    disbelieved: frozenset[str] = frozenset()


class EdgeHealth:
    """The shared record of what edges hold, and what follows from it for the cells."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def note(
        self,
        replica: str,
        counts: Mapping[str, tuple[int, int]],
        *,
        silent: int = 0,
        held: Collection[str] = (),
    ) -> Decided:
        """Write what this control plane's edges hold, and set the cells by what all edges hold.

        Args:
            replica: whose edges they are.
            counts: by cell's name, how many of them can reach it and how many can't.
            silent: how many more edges it has, that don't report.
            held: cells that must not change now.
        """
        pairs = {name: list(pair) for name, pair in sorted(counts.items())}
        document = json.dumps({"cells": pairs, "silent": silent})

        def work(tx: Transaction) -> Decided:
            row = {"said": document, "at": tx.at}
            done = tx.connection.execute(update(_T).where(_T.c.replica == replica).values(**row))
            if done.rowcount == 0:
                tx.connection.execute(insert(_T).values(replica=replica, **row))
                tx.connection.execute(delete(_T).where(_T.c.at < tx.at - KEPT))
            return _decide(tx, _verdicts(tx.connection, FRESH, now_of=tx), frozenset(held))

        return self._store.write("edges", work)[0]

    def probed(self, found: Mapping[str, bool]) -> Mapping[str, bool]:
        """Set cells by a probe's word, but for those of which edges have one; what changed."""

        def work(tx: Transaction) -> Decided:
            known = _verdicts(tx.connection, FRESH, now_of=tx)
            wanted = {name: up for name, up in found.items() if name not in known}
            return _decide(tx, wanted, frozenset())

        return self._store.write("health", work)[0].changed

    def withdraw(self, replica: str) -> None:
        """A control plane stops: from now on its word does not count, but is remembered."""

        def work(tx: Transaction) -> None:
            old = {"at": tx.at - FRESH}
            tx.connection.execute(update(_T).where(_T.c.replica == replica).values(**old))

        self._store.write("edges", work)

    def verdicts(self, within: timedelta = FRESH) -> Mapping[str, bool | None]:
        """By cell's name, whether it is up, by what was written lately; None: it stays as it is."""
        with self._store.read() as connection:
            return _verdicts(connection, within)


def _verdicts(
    connection: Connection, within: timedelta, now_of: Transaction | None = None
) -> Mapping[str, bool | None]:
    """What all edges together say."""
    rows = connection.execute(select(_T.c.said, _T.c.at)).all()
    if not rows:
        return {}
    now = now_of.at if now_of is not None else clock(connection)
    up: Counter[str] = Counter()
    down: Counter[str] = Counter()
    silent = 0
    for row in rows:
        if now - moment(row.at) < within:
            said = json.loads(row.said)
            silent += said["silent"]
            for name, (can, can_not) in said["cells"].items():
                up[name] += can
                down[name] += can_not
    return judge({name: (up[name], down[name]) for name in up}, silent)


def judge(counts: Mapping[str, tuple[int, int]], silent: int = 0) -> Mapping[str, bool | None]:
    """By cell's name, whether it is up, by how many edges can reach it and how many can't.

    A cell is down if more than half can't. But where that takes more than half of the cells from
    edges that can reach them, or from ``silent`` ones that may, those that can't are more likely
    cut off than the cells are dead: None.
    """
    known = {name: pair for name, pair in counts.items() if any(pair)}
    taken = {name for name, (up, down) in known.items() if down > up and (up or silent)}
    too_many = len(taken) * 2 > len(known)
    return {
        name: None if too_many and name in taken else up >= down
        for name, (up, down) in known.items()
    }


def _decide(tx: Transaction, verdicts: Mapping[str, bool | None], held: frozenset[str]) -> Decided:
    wanted = {name: up for name, up in verdicts.items() if up is not None}
    disbelieved = frozenset(verdicts.keys() - wanted.keys())
    if not wanted:
        return Decided({}, disbelieved=disbelieved)
    table = schema.cells
    rows = tx.connection.execute(select(table.c.name, table.c.healthy, table.c.state)).all()
    changes = {
        row.name: wanted[row.name]
        for row in rows
        if row.state in PROBED and wanted.get(row.name, row.healthy) != row.healthy
    }
    changed = {name: up for name, up in changes.items() if name not in held}
    for name, up in changed.items():
        lifecycle.set_health(tx, name, healthy=up)
    return Decided(changed, frozenset(changes) & held, disbelieved)
