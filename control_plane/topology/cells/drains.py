"""Drains, as `Topology.drains` offers them: each method is one transaction.

A drain is a row and the share of its cell. Whoever finds that a step is due makes it, in a
transaction that looks again whether it is still due. So each step is made once however many control
planes look, and one that is killed between two steps leaves nothing half done: another one, or the
same after its start, makes the next. Steps that were missed are not made up for; the next one comes
an interval after the last.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

from sqlalchemy import Row, and_, insert, or_, select, tuple_, update

from control_plane.topology.cells import lifecycle
from control_plane.topology.cells.rows import all_cells, get_cell
from control_plane.topology.storage import Store, Transaction, clock, moment, schema
from control_plane.topology.values import (
    FULL_SHARE,
    Cell,
    Drain,
    DrainSpec,
    DrainState,
    NotFound,
    Refused,
    StaleVersion,
    Written,
)

DEFAULT_MIN_CAPACITY = 50
ACTOR = "drains"
"""Who makes the steps, in the audit."""
NO_TARGETS: Mapping[int, int] = MappingProxyType({})
DrainAction = Literal["pause", "resume", "abort"]
_T = schema.drains


class Drains:
    """Starts, pauses and ends drains, and makes their steps."""

    def __init__(self, store: Store, min_capacity: int = DEFAULT_MIN_CAPACITY) -> None:
        """Make a component.

        Args:
            store: the database.
            min_capacity: what every step must leave of the weights of all cells that take new
                traffic by their state, in percent.
        """
        self._store = store
        self._min_capacity = min_capacity

    def start(self, spec: DrainSpec, *, actor: str, dry_run: bool = False) -> Written[Drain]:
        """Start a drain; its first step follows at once.

        Raises:
            Invalid: the spec is malformed, or expires before its last step.
            NotFound: there is no such cell.
            Refused: the cell takes no free traffic, is the last that does, has a drain already, or
                too little capacity would be left.
        """
        spec.check()
        return self._store.written(actor, lambda tx: self._start(tx, spec), dry_run=dry_run)

    def change(
        self,
        drain: str,
        action: DrainAction,
        *,
        actor: str,
        expected_version: int | None = None,
        dry_run: bool = False,
    ) -> Written[Drain]:
        """Pause, resume or abort a drain.

        A pause keeps the share as it is, until the expiry. Resuming goes on with a step at once. An
        abort ends the drain, and its cell gets all of its share back under the same revision.

        Raises:
            NotFound: there is no such drain.
            StaleVersion: it is not at the expected version.
            Refused: it has ended, or is in no state for this.
        """

        def work(tx: Transaction) -> Drain:
            return _ACTIONS[action](tx, _active(tx, drain, expected_version))

        return self._store.written(actor, work, dry_run=dry_run)

    def get(self, drain: str) -> Drain:
        """Return a drain; raise `NotFound` if there is none of this id."""
        with self._store.read() as connection:
            row = connection.execute(select(_T).where(_T.c.id == drain)).one_or_none()
        if row is None:
            raise NotFound("drain", drain)
        return _drain(row)

    def page(
        self,
        *,
        cell: str | None = None,
        active: bool = False,
        before: tuple[datetime, str] | None = None,
        limit: int = 100,
    ) -> list[Drain]:
        """Return drains, the newest first.

        Args:
            cell: only those of this cell.
            active: only those that have not ended.
            before: only those before a (time of start, id): the last of the page before.
            limit: how many at most.
        """
        query = select(_T).order_by(_T.c.started_at.desc(), _T.c.id.desc()).limit(limit)
        if cell is not None:
            query = query.where(_T.c.cell == cell)
        if active:
            query = query.where(_T.c.ended_at.is_(None))
        if before is not None:
            query = query.where(tuple_(_T.c.started_at, _T.c.id) < before)
        with self._store.read() as connection:
            return [_drain(row) for row in connection.execute(query).all()]

    def advance(self) -> Sequence[Drain]:
        """Make every step that is due, one transaction each; return the drains that changed."""
        with self._store.read() as connection:
            now = clock(connection)
            due = and_(_T.c.state == str(DrainState.RUNNING), _T.c.next_at <= now)
            query = select(_T.c.id).where(_T.c.ended_at.is_(None))
            query = query.where(or_(_T.c.expires_at <= now, due))
            drains = connection.execute(query).scalars().all()
        changed = [self._store.write(ACTOR, partial(self._step, drain=one))[0] for one in drains]
        return [drain for drain in changed if drain is not None]

    def _start(self, tx: Transaction, spec: DrainSpec) -> Drain:
        cell = get_cell(tx.connection, spec.cell)
        what = f"draining {cell.name}"
        if not (cell.state.takes_new and cell.weight):
            why = f"it is {cell.state} with weight {cell.weight}, and gets no free traffic"
            raise Refused(what, why)
        own = select(_T.c.id).where(_T.c.cell_id == cell.id, _T.c.ended_at.is_(None))
        if other := tx.connection.execute(own).scalar():
            raise Refused(what, f"drain {other} does so already; abort it first")
        self._check_capacity(tx, cell, spec.target, what, _targets(tx))
        expires = tx.at + timedelta(seconds=spec.expires_in_s)
        drain = Drain(
            str(uuid.uuid4()), cell.id, cell.name, DrainState.RUNNING, FULL_SHARE, spec.target,
            spec.step, spec.interval_s, spec.reason, tx.actor, "", tx.at, expires, tx.at, None,
            tx.revision,
        )  # fmt: skip
        tx.connection.execute(insert(_T).values(**_columns(drain)))
        tx.log("drain", "create", drain.id, None, drain.as_dict())
        return drain

    def _step(self, tx: Transaction, drain: str) -> Drain | None:
        """Make a drain's step if it is due; return the drain as it is then, None if none was."""
        row = tx.connection.execute(
            select(_T).where(_T.c.id == drain, _T.c.ended_at.is_(None))
        ).one_or_none()
        if row is None:
            return None
        before = _drain(row)
        if before.expires_at <= tx.at:
            return _end(tx, before, "return", DrainState.RETURNED, "")
        if before.state is not DrainState.RUNNING or before.next_at > tx.at:
            return None
        share = max(before.share - before.step, before.target)
        cell = get_cell(tx.connection, before.cell)
        try:
            self._check_capacity(tx, cell, share, f"share {share} for {cell.name}")
        except Refused as refusal:
            return _change(tx, "pause", before, state=DrainState.PAUSED, detail=str(refusal))
        lifecycle.set_share(tx, before.cell, share, _why(before))
        state = DrainState.HOLDING if share == before.target else DrainState.RUNNING
        next_at = tx.at + timedelta(seconds=before.interval_s)
        return _change(tx, "step", before, state=state, share=share, next_at=next_at)

    def _check_capacity(
        self,
        tx: Transaction,
        cell: Cell,
        share: int,
        what: str,
        targets: Mapping[int, int] = NO_TARGETS,
    ) -> None:
        """Raise `Refused` if a cell's share would leave too little to send free traffic to.

        Args:
            tx: the transaction.
            cell: the cell that is drained.
            share: the share that it is to have.
            what: what is refused.
            targets: by a cell's id, a share that it will have before long.
        """
        takers = [one for one in all_cells(tx.connection) if one.state.takes_new and one.weight]
        others = [one for one in takers if one.id != cell.id]
        if not cell.state.takes_new:
            return
        if not any(one.accepts_new and targets.get(one.id, one.share) for one in others):
            raise Refused(what, "no other cell takes new traffic")
        total = sum(one.weight for one in takers)
        left = cell.weight * share + sum(
            one.weight * min(one.share, targets.get(one.id, one.share))
            for one in others
            if one.healthy
        )
        if left < total * self._min_capacity:
            why = f"{left / total:.1f} % of the capacity would be left, and {self._min_capacity} %"
            raise Refused(what, f"{why} is the least that is allowed (drain_min_capacity)")


def _targets(tx: Transaction) -> Mapping[int, int]:
    """Return to which share each drain that goes on brings its cell, by the cell's id."""
    query = select(_T.c.cell_id, _T.c.target).where(_T.c.ended_at.is_(None))
    return {row.cell_id: row.target for row in tx.connection.execute(query)}


def _active(tx: Transaction, drain: str, expected: int | None) -> Drain:
    row = tx.connection.execute(select(_T).where(_T.c.id == drain)).one_or_none()
    if row is None:
        raise NotFound("drain", drain)
    found = _drain(row)
    if expected is not None and found.version != expected:
        raise StaleVersion("drain", drain, expected, found.version)
    if not found.active:
        raise Refused(f"a change of drain {drain}", f"it is {found.state}")
    return found


def _pause(tx: Transaction, before: Drain) -> Drain:
    if before.state is DrainState.PAUSED:
        return before
    if before.state is not DrainState.RUNNING:
        raise Refused(f"pausing drain {before.id}", f"it is {before.state}, with no step left")
    return _change(tx, "pause", before, state=DrainState.PAUSED, detail="")


def _resume(tx: Transaction, before: Drain) -> Drain:
    if before.state is not DrainState.PAUSED:
        raise Refused(f"resuming drain {before.id}", f"it is {before.state}, not paused")
    return _change(tx, "resume", before, state=DrainState.RUNNING, detail="", next_at=tx.at)


def _abort(tx: Transaction, before: Drain) -> Drain:
    return _end(tx, before, "abort", DrainState.ABORTED, "")


_ACTIONS: Mapping[DrainAction, Callable[[Transaction, Drain], Drain]] = MappingProxyType(
    {"pause": _pause, "resume": _resume, "abort": _abort}
)


def _end(tx: Transaction, before: Drain, action: str, state: DrainState, detail: str) -> Drain:
    lifecycle.set_share(tx, before.cell, FULL_SHARE, _why(before))
    return _change(tx, action, before, state=state, detail=detail, ended_at=tx.at)


def _why(drain: Drain) -> str:
    return f"drain {drain.id}: {drain.reason}"


def _change(tx: Transaction, action: str, before: Drain, **values: Any) -> Drain:
    after = replace(before, **values, version=tx.revision)
    tx.connection.execute(update(_T).where(_T.c.id == after.id).values(**_columns(after)))
    tx.log("drain", action, after.id, before.as_dict(), after.as_dict())
    return after


def _columns(drain: Drain) -> dict[str, Any]:
    columns = {name: getattr(drain, name) for name in Drain.__slots__}
    return columns | {"state": str(drain.state)}


def _drain(row: Row[Any]) -> Drain:
    times = ("started_at", "expires_at", "next_at")
    columns = {name: getattr(row, name) for name in Drain.__slots__}
    columns |= {name: moment(columns[name]) for name in times}
    ended = None if row.ended_at is None else moment(row.ended_at)
    return Drain(**columns | {"state": DrainState(row.state), "ended_at": ended})
