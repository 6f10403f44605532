"""Creates, replaces and removes cells inside a transaction, and guards each step of their life."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Any

from sqlalchemy import delete, insert, update

from control_plane.topology.cells import guards, ids, sequence_ranges
from control_plane.topology.cells.rows import all_cells, columns, get_cell
from control_plane.topology.storage import Transaction, schema
from control_plane.topology.values import (
    AlreadyExists,
    Cell,
    CellSpec,
    CellState,
    Endpoint,
    Invalid,
    Problem,
    Refused,
    StaleVersion,
)

_T = schema.cells


def create(tx: Transaction, spec: CellSpec, cells: Collection[Cell] | None = None) -> Cell:
    """Add a cell; raise `Invalid`, or `AlreadyExists` (also for the id of a deleted cell).

    Args:
        tx: the transaction.
        spec: the cell.
        cells: all cells as of now, if the caller has them: to read them costs more than the rest.
    """
    spec.check()
    _check_reach(tx, spec, ())
    existing = all_cells(tx.connection) if cells is None else cells
    cell_id = spec.id or ids.next_id(tx)
    cell = _from_spec(spec, cell_id, healthy=True, version=tx.revision)
    _check_unique(cell, existing)
    ids.assign(tx, cell)
    sequence_ranges.allot(tx, cell)
    tx.connection.execute(insert(_T), [columns(cell)])
    tx.touch_edge(answers=True)
    tx.log("cell", "create", cell.name, None, cell.as_dict())
    return cell


def replace(
    tx: Transaction,
    name: str,
    spec: CellSpec,
    expected: int | None,
    *,
    force: bool,
    reason: str | None = None,
    cells: Collection[Cell] | None = None,
) -> Cell:
    """Replace the attributes that an operator may write.

    Args:
        tx: the transaction.
        name: the cell's name.
        spec: all attributes as they are to be; the id and the name can't change.
        expected: the version that the cell must be at; None for any.
        force: do it although a guard refuses; the audit says which one did.
        reason: why it is done, for the audit; needed with ``force``.
        cells: all cells as of now, if the caller has them.

    Raises:
        StaleVersion: the cell is at another version.
        Invalid: the spec is malformed, or has another id or name; or the reason is.
        AlreadyExists: another cell has the address, the session prefix or a sequence range.
        Refused: a guard refuses the change.
    """
    spec.check()
    note = guards.note(reason, force=force)
    before = _expected(tx, name, expected)
    if spec.id not in {None, before.id} or spec.name != name:
        hint = "make a new cell instead"
        raise Invalid(Problem("id", "a cell's id and name can't change", hint))
    _check_reach(tx, spec, before.endpoints)
    after = _from_spec(spec, before.id, healthy=before.healthy, version=tx.revision)
    after = dataclasses.replace(after, share=before.share)
    old, new = columns(before), columns(after)
    if {**old, "version": 0} == {**new, "version": 0}:
        return before
    existing = all_cells(tx.connection) if cells is None else cells
    others = [cell for cell in existing if cell.id != before.id]
    _check_unique(after, others)
    try:
        guards.check(tx, before, after, others)
    except Refused as refusal:
        if not force:
            raise
        note["forced"] = str(refusal)
    if after.sequence_ranges != before.sequence_ranges:
        sequence_ranges.allot(tx, after)
    tx.connection.execute(update(_T).where(_T.c.id == after.id).values(new))
    tx.touch_edge(answers=_routed_by(old) != _routed_by(new))
    tx.log("cell", "update", after.name, before.as_dict(), after.as_dict() | note)
    return after


def set_share(tx: Transaction, name: str, share: int, reason: str) -> Cell:
    """Set what a drain leaves a cell of its usual share of the free traffic, in percent.

    No answer is void: which cell a weighted choice gives is never kept.
    """
    before = get_cell(tx.connection, name)
    if before.share == share:
        return before
    after = dataclasses.replace(before, share=share, version=tx.revision)
    row = {"share": share, "version": tx.revision}
    tx.connection.execute(update(_T).where(_T.c.id == before.id).values(row))
    tx.touch_edge(answers=False)
    tx.log("cell", "update", name, before.as_dict(), after.as_dict() | {"reason": reason})
    return after


def set_health(tx: Transaction, name: str, *, healthy: bool) -> Cell:
    """Record whether a cell is up.

    The cost does not grow with the number of cells, because all of them may go down at once.
    """
    before = get_cell(tx.connection, name)
    if before.healthy == healthy:
        return before
    after = dataclasses.replace(before, healthy=healthy, version=tx.revision)
    row = {"healthy": healthy, "version": tx.revision}
    tx.connection.execute(update(_T).where(_T.c.id == before.id).values(row))
    tx.touch_edge(answers=True)
    tx.log("cell", "update", name, before.as_dict(), after.as_dict())
    return after


def remove(tx: Transaction, name: str, expected: int | None, reason: str | None = None) -> Cell:
    """Delete a retired cell that owns no claims; return it as it was."""
    note = guards.note(reason, force=False)
    before = _expected(tx, name, expected)
    if before.state is not CellState.RETIRED:
        raise Refused(f"deleting {name}", f"it is {before.state}; retire it first")
    guards.check_empty(tx, before, f"deleting {name}")
    drains = schema.drains
    ended = {"state": "ended", "detail": "its cell was deleted", "ended_at": tx.at}
    running = (drains.c.cell_id == before.id, drains.c.ended_at.is_(None))
    tx.connection.execute(update(drains).where(*running).values(**ended))
    leases = schema.leases
    tx.connection.execute(delete(leases).where(leases.c.cell_id == before.id))
    sequence_ranges.forget_cell(tx, before.id)
    ids.tombstone(tx, before)
    tx.connection.execute(delete(_T).where(_T.c.id == before.id))
    tx.touch_edge(answers=True)
    tx.log("cell", "delete", name, before.as_dict(), note or None)
    return before


def _check_reach(tx: Transaction, spec: CellSpec, before: Sequence[Endpoint]) -> None:
    """Raise `Invalid` for new endpoints that no cell may have.

    Those that a cell has already stay, so that nothing keeps an operator from draining it. They are
    neither published nor probed.
    """
    problems = [
        Problem("endpoints", f"{str(endpoint)!r} {why}", "give the cell's own address")
        for endpoint in spec.endpoints
        if endpoint not in before and (why := tx.endpoint_policy.denial(endpoint))
    ]
    if problems:
        raise Invalid(*problems)


def _expected(tx: Transaction, name: str, version: int | None) -> Cell:
    cell = get_cell(tx.connection, name)
    if version is not None and cell.version != version:
        raise StaleVersion("cell", name, version, cell.version)
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


def _routed_by(row: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a cell's row that a routing decision can depend on.

    Endpoints, TLS and labels (all in ``details``) say how a cell is reached and what people note
    about it: no decision depends on them.
    """
    return {name: row[name] for name in row if name not in {"details", "version"}}


def _check_unique(cell: Cell, others: Iterable[Cell]) -> None:
    fields = [
        (field, value)
        for field in ("id", "name", "address", "session_prefix")
        if (value := getattr(cell, field)) is not None
    ]
    for other in others:
        for field, value in fields:
            if value == getattr(other, field):
                raise AlreadyExists(f"cell {field}", ((str(value), other.name),))
        for span in cell.sequence_ranges:
            for taken in other.sequence_ranges:
                if span.minval <= taken.maxval and taken.minval <= span.maxval:
                    key = f"{span.minval}..{span.maxval}"
                    raise AlreadyExists("sequence range", ((key, other.name),))
    _check_own_ranges(cell)


def _check_own_ranges(cell: Cell) -> None:
    for left, right in pairwise(cell.sequence_ranges):
        if right.minval <= left.maxval:
            raise Invalid(Problem("sequence_ranges", "two of them overlap", "make them disjoint"))
