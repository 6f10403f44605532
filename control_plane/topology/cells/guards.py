"""What keeps a cell from a step of its life, and what to do about it.

A step that takes a cell away from its tenants is allowed when it has none left::

    draining → drained    it owns no claims
    drained  → retired    it owns no claims, has no open leases, and every Envoy has acknowledged
                          that it is drained, so that none sends it requests any more

An operator may override a guard (``force``), with a reason. The change feed then says which guard
has refused, in ``forced``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sqlalchemy import func, select

from control_plane.names import MAX_REASON_CHARS
from control_plane.topology.cells.fleet_reports import behind
from control_plane.topology.storage import Transaction, schema
from control_plane.topology.values import (
    TRANSITIONS,
    Cell,
    CellState,
    EdgesBehind,
    Invalid,
    Problem,
    Refused,
)

COUNTED = 1000
"""A cell that owns more claims is only said to own more: counting millions holds up writers."""
NAMED = 3
"""Tenants that a refusal names."""
_C = schema.claims.c


def note(reason: str | None, *, force: bool) -> dict[str, Any]:
    """Return what the change feed says of why a cell is changed.

    Raises:
        Invalid: the reason is too long or blank, or it is missing and a guard is to be overridden.
    """
    if reason is None and not force:
        return {}
    if reason is None or not 1 <= len(reason.strip()) <= MAX_REASON_CHARS:
        why = "is missing or too long"
        hint = f"say why, in 1 to {MAX_REASON_CHARS} characters: it stays in the audit"
        raise Invalid(Problem("reason", f"{why}; force needs one" if force else why, hint))
    return {"reason": reason}


def check(tx: Transaction, before: Cell, after: Cell, others: Iterable[Cell]) -> None:
    """Raise `Refused` if a cell may not become what it is to be.

    Args:
        tx: the transaction.
        before: the cell as it is.
        after: the cell as it is to be.
        others: all other cells.
    """
    _check_step(before, after)
    _check_last(before, after, others)
    if before.state is after.state or after.state.may_own:
        return
    what = f"state {after.state} for {after.name}"
    check_empty(tx, before, what)
    if after.state is CellState.RETIRED:
        _check_leases(tx, before, what)
        _check_edges(tx, before, what)


def check_empty(tx: Transaction, cell: Cell, what: str) -> None:
    """Raise `Refused` with the tenants that are left if a cell owns claims."""
    query = select(_C.subject, _C.subject_type, _C.subject_id).where(_C.cell_id == cell.id)
    rows = tx.connection.execute(query.limit(COUNTED + 1)).all()
    if not rows:
        return
    owned = f"{len(rows)}" if len(rows) <= COUNTED else f"more than {COUNTED}"
    tenants = Counter(
        row.subject or (f"{row.subject_type}:{row.subject_id}" if row.subject_id else None)
        for row in rows
    )
    plain = tenants.pop(None, 0)
    left = [f"{name} ({number})" for name, number in tenants.most_common(NAMED)]
    if len(tenants) > NAMED:
        left.append(f"{len(tenants) - NAMED} more subjects")
    if plain:
        left.append(f"{plain} without a subject")
    todo = "move them to another cell or release them first"
    raise Refused(what, f"it owns {owned} claims, of {', '.join(left)}; {todo}")


def _check_step(before: Cell, after: Cell) -> None:
    if before.state is after.state or after.state in TRANSITIONS[before.state]:
        return
    allowed = ", ".join(sorted(TRANSITIONS[before.state])) or "nothing"
    why = f"from {before.state} a cell goes to: {allowed}"
    raise Refused(f"state {after.state} for {after.name}", why)


def _check_last(before: Cell, after: Cell, others: Iterable[Cell]) -> None:
    if not before.accepts_new or after.accepts_new:
        return
    if not any(other.accepts_new for other in others):
        why = "no cell would be left that takes new traffic"
        raise Refused(f"this change of {before.name}", why)


def _check_leases(tx: Transaction, cell: Cell, what: str) -> None:
    leases = schema.leases.c
    query = select(func.count()).where(leases.cell_id == cell.id, leases.settled_at.is_(None))
    number = tx.connection.execute(query).scalar_one()
    if number:
        todo = f"list them with cellway claims leases --cell {cell.name}, and settle them"
        raise Refused(what, f"it has {number} open leases; {todo}")


def _check_edges(tx: Transaction, cell: Cell, what: str) -> None:
    """Raise `EdgesBehind` if an Envoy may not know yet that the cell is sent no requests."""
    if late := behind(tx, cell.version):
        why = f"Envoys may still send it requests, until they run revision {cell.version}"
        raise EdgesBehind(what, f"{why}: {', '.join(late)}")
