"""Reads and writes cells, and guards their life."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from control_plane.topology.cells import ids
from control_plane.topology.cells import sequence_ranges as sequences
from control_plane.topology.storage import schema
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.cell import (
    TRANSITIONS,
    Cell,
    CellSpec,
    CellState,
    CellTLS,
    SequenceRange,
)
from control_plane.topology.values.claim_key import can_be_kept
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.errors import (
    AlreadyExists,
    Invalid,
    NotFound,
    Problem,
    Refused,
    StaleVersion,
)

_T = schema.cells


def _cell(row: Row[Any]) -> Cell:
    details = json.loads(row.details)
    tls = details["tls"]
    return Cell(
        row.id,
        row.name,
        row.address,
        tuple(Endpoint(host, port) for host, port in details["endpoints"]),
        CellTLS(**tls) if tls is not None else None,
        details["health_check_path"],
        row.session_prefix,
        tuple(SequenceRange(low, high) for low, high in details["sequence_ranges"]),
        details["labels"],
        CellState(row.state),
        row.weight,
        bool(row.healthy),
        row.version,
    )


def _columns(cell: Cell) -> dict[str, Any]:
    return {
        "id": cell.id,
        "name": cell.name,
        "address": cell.address,
        "session_prefix": cell.session_prefix,
        "state": str(cell.state),
        "weight": cell.weight,
        "healthy": cell.healthy,
        "version": cell.version,
        "details": json.dumps(
            {
                "endpoints": [[e.host, e.port] for e in cell.endpoints],
                "tls": None
                if cell.tls is None
                else {"server_name": cell.tls.server_name, "ca_file": cell.tls.ca_file},
                "health_check_path": cell.health_check_path,
                "sequence_ranges": [[s.minval, s.maxval] for s in cell.sequence_ranges],
                "labels": dict(sorted(cell.labels.items())),
            }
        ),
    }


def all_cells(connection: Connection) -> tuple[Cell, ...]:
    """Every cell, by id."""
    return tuple(_cell(row) for row in connection.execute(select(_T).order_by(_T.c.id)))


class KnownCells:
    """Every cell again and again: only those are read that have changed since."""

    def __init__(self) -> None:
        self._known: tuple[int, dict[int, Cell]] = (0, {})

    def read(self, connection: Connection, revision: int) -> tuple[Cell, ...]:
        """Every cell, by id; ``revision`` is the newest that this connection sees."""
        at, known = self._known
        cells = self._changed(connection, at, known) if at <= revision else None
        if cells is None:
            cells = {cell.id: cell for cell in all_cells(connection)}
        # In one step: other threads read too.
        self._known = (revision, cells)
        return tuple(cells[number] for number in sorted(cells))

    @staticmethod
    def _changed(connection: Connection, at: int, known: dict[int, Cell]) -> dict[int, Cell] | None:
        """What is known with what has changed since; None if a cell is gone."""
        rows = connection.execute(select(_T).where(_T.c.version > at))
        fresh = {row.id: _cell(row) for row in rows}
        kept = {number: cell for number, cell in known.items() if number not in fresh}
        older = select(func.count()).select_from(_T).where(_T.c.version <= at)
        if connection.execute(older).scalar_one() != len(kept):
            return None
        return kept | fresh


def get(connection: Connection, name: str) -> Cell:
    """The cell of this name; raises `NotFound`."""
    if not can_be_kept(name):
        raise NotFound("cell", name)
    row = connection.execute(select(_T).where(_T.c.name == name)).one_or_none()
    if row is None:
        raise NotFound("cell", name)
    return _cell(row)


def create(tx: Transaction, spec: CellSpec) -> Cell:
    """Add a cell; raises `Invalid` or `AlreadyExists`, also for the id of a deleted cell."""
    spec.check()
    existing = all_cells(tx.connection)
    cell_id = spec.id or ids.next_id(tx)
    cell = _from_spec(spec, cell_id, healthy=True, version=tx.revision)
    _check_unique(cell, existing)
    ids.give(tx, cell)
    sequences.allot(tx, cell)
    tx.connection.execute(insert(_T), [_columns(cell)])
    tx.touch_edge(answers=True)
    tx.log("cell", "create", cell.name, None, cell.as_dict())
    return cell


def replace(
    tx: Transaction, name: str, spec: CellSpec, expected: int | None, *, force: bool
) -> Cell:
    """Replace what an operator may write of a cell."""
    spec.check()
    before = _fresh(tx, name, expected)
    if spec.id not in {None, before.id} or spec.name != name:
        mend = "make a new cell instead"
        raise Invalid(Problem("id", "a cell's id and name can't change", mend))
    cell = _from_spec(spec, before.id, healthy=before.healthy, version=tx.revision)
    return _store(tx, before, cell, force=force)


def set_health(tx: Transaction, name: str, *, healthy: bool) -> Cell:
    """Note whether a cell is up. Costs the same however many cells there are: all may go down."""
    before = get(tx.connection, name)
    if before.healthy == healthy:
        return before
    after = dataclasses.replace(before, healthy=healthy, version=tx.revision)
    row = {"healthy": healthy, "version": tx.revision}
    tx.connection.execute(update(_T).where(_T.c.id == before.id).values(row))
    tx.touch_edge(answers=True)
    tx.log("cell", "update", name, before.as_dict(), after.as_dict())
    return after


def remove(tx: Transaction, name: str, expected: int | None) -> Cell:
    """Delete a retired cell that owns nothing."""
    before = _fresh(tx, name, expected)
    if before.state is not CellState.RETIRED:
        raise Refused(f"deleting {name}", f"it is {before.state}; retire it first")
    owned = tx.connection.execute(
        select(func.count()).select_from(schema.claims).where(schema.claims.c.cell_id == before.id)
    ).scalar_one()
    if owned:
        raise Refused(f"deleting {name}", f"it owns {owned} claims; release or move them first")
    leases = schema.leases
    tx.connection.execute(delete(leases).where(leases.c.cell_id == before.id))
    sequences.forget_cell(tx, before.id)
    ids.retire(tx, before)
    tx.connection.execute(delete(_T).where(_T.c.id == before.id))
    tx.touch_edge(answers=True)
    tx.log("cell", "delete", name, before.as_dict(), None)
    return before


def _fresh(tx: Transaction, name: str, expected: int | None) -> Cell:
    cell = get(tx.connection, name)
    if expected is not None and cell.version != expected:
        raise StaleVersion("cell", name, expected, cell.version)
    return cell


def _from_spec(spec: CellSpec, cell_id: int, *, healthy: bool, version: int) -> Cell:
    return Cell(
        cell_id,
        spec.name,
        spec.address.lower(),
        spec.endpoints,
        spec.tls,
        spec.health_check_path,
        spec.session_prefix,
        tuple(sorted(spec.sequence_ranges, key=lambda span: span.minval)),
        spec.labels,
        spec.state,
        spec.weight,
        healthy,
        version,
    )


def _store(tx: Transaction, before: Cell, after: Cell, *, force: bool) -> Cell:
    old, new = _columns(before), _columns(after)
    if {**old, "version": 0} == {**new, "version": 0}:
        return before
    _check_unique(after, [c for c in all_cells(tx.connection) if c.id != before.id])
    if not force:
        _guard_state(before, after)
        _guard_last(tx, before, after)
    if after.sequence_ranges != before.sequence_ranges:
        sequences.allot(tx, after)
    tx.connection.execute(update(_T).where(_T.c.id == after.id).values(new))
    tx.touch_edge(answers=_routed_by(old) != _routed_by(new))
    tx.log("cell", "update", after.name, before.as_dict(), after.as_dict())
    return after


def _routed_by(columns: dict[str, Any]) -> dict[str, Any]:
    """What a decision can depend on: all but how a cell is reached, and what people note of it."""
    return {name: columns[name] for name in columns if name not in {"details", "version"}}


def _guard_state(before: Cell, after: Cell) -> None:
    if before.state is after.state or after.state in TRANSITIONS[before.state]:
        return
    allowed = ", ".join(sorted(TRANSITIONS[before.state])) or "nothing"
    why = f"from {before.state} a cell goes to: {allowed}"
    raise Refused(f"state {after.state} for {after.name}", why)


def _guard_last(tx: Transaction, before: Cell, after: Cell) -> None:
    if not before.accepts_new or after.accepts_new:
        return
    others = [c for c in all_cells(tx.connection) if c.id != before.id and c.accepts_new]
    if not others:
        why = "no cell would be left that takes new traffic"
        raise Refused(f"this change of {before.name}", why)


def _check_unique(cell: Cell, others: Sequence[Cell]) -> None:
    for other in others:
        for field in ("id", "name", "address", "session_prefix"):
            value = getattr(cell, field)
            if value is not None and value == getattr(other, field):
                raise AlreadyExists(f"cell {field}", ((str(value), other.name),))
        for span in cell.sequence_ranges:
            for taken in other.sequence_ranges:
                if span.minval <= taken.maxval and taken.minval <= span.maxval:
                    key = f"{span.minval}..{span.maxval}"
                    raise AlreadyExists("sequence range", ((key, other.name),))
    _check_own_ranges(cell)


def _check_own_ranges(cell: Cell) -> None:
    spans = cell.sequence_ranges
    for left, right in pairwise(spans):
        if right.minval <= left.maxval:
            raise Invalid(Problem("sequence_ranges", "two of them overlap", "make them disjoint"))
