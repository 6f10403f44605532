"""Holds in the database: a move's claims answer look-ups with the move while it holds them.

Each change of what look-ups answer raises the epochs of the claims' shards, so that no answer from
before it counts any more, wherever it is kept. It also counts as a change of what edges are made
from, because whoever decides requests reads the holds together with the cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, select, tuple_, update

from control_plane.topology.claims import epochs
from control_plane.topology.claims.moves import rows
from control_plane.topology.storage import Transaction, chunked, schema
from control_plane.topology.values import ClaimKey
from control_plane.topology.values.hold import Hold
from control_plane.topology.values.move import Move, MoveState

_C = schema.claims
_HOLDING = tuple(state for state in MoveState if state.holds)


def all_holds(connection: Connection) -> tuple[Hold, ...]:
    """Return what moves say of requests for the claims that they hold now."""
    return tuple(move.hold for move in rows.in_states(connection, _HOLDING))


def hold(tx: Transaction, move: Move, keys: Sequence[ClaimKey]) -> None:
    """Have look-ups of some claims answer with the move."""
    _update(tx, keys, {"hold": -move.number})
    for key in keys:
        before, after = {"cell_id": move.source_id}, {"cell_id": move.source_id}
        tx.log("claim", "hold", str(key), before, after | {"move": move.number})
    _tell(tx, keys)


def let_go(tx: Transaction, move: Move) -> None:
    """Have look-ups of all claims that the move holds answer with their cells again."""
    held = _held(tx, move)
    keys = [ClaimKey(row.bucket, row.value) for row in held]
    if not keys:
        return
    _update(tx, keys, {"hold": None})
    for row, key in zip(held, keys, strict=True):
        before = {"cell_id": row.cell_id, "move": move.number}
        tx.log("claim", "unhold", str(key), before, {"cell_id": row.cell_id})
    _tell(tx, keys)


def give(tx: Transaction, move: Move, keys: Sequence[ClaimKey], *, back: bool = False) -> None:
    """Give claims to the target (with ``back``, to the source), and hold them no longer."""
    cells = (move.source_id, move.plan.source), (move.target_id, move.plan.target)
    (old_id, old), (new_id, new) = reversed(cells) if back else cells
    values = {"cell_id": new_id, "hold": None, "revision": tx.revision, "updated_at": tx.at}
    _update(tx, keys, values)
    for key in keys:
        before = {"cell_id": old_id, "cell": old}
        after = {"cell_id": new_id, "cell": new, "reason": f"move {move.number}"}
        tx.log("claim", "move", str(key), before, after)
    _tell(tx, keys)


def held_keys(tx: Transaction, move: Move) -> list[ClaimKey]:
    """Return the claims that the move holds."""
    return [ClaimKey(row.bucket, row.value) for row in _held(tx, move)]


def _held(tx: Transaction, move: Move) -> Sequence[Row[Any]]:
    # By the hold itself, not by what the move remembers: so nothing is left over, and nothing of
    # another move is touched.
    query: Select[Any] = select(_C.c.bucket, _C.c.value, _C.c.cell_id).where(
        _C.c.hold == -move.number
    )
    return tx.connection.execute(query).all()


def _update(tx: Transaction, keys: Sequence[ClaimKey], values: dict[str, Any]) -> None:
    for chunk in chunked(keys):
        where = tuple_(_C.c.bucket, _C.c.value).in_(chunk)
        tx.connection.execute(update(_C).where(where).values(values))


def _tell(tx: Transaction, keys: Sequence[ClaimKey]) -> None:
    epochs.moved(tx, keys)
    tx.touch_edge(answers=False)
