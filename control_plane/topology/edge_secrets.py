"""The secret by which an edge shows the classifier that it is one.

All edges have the same secret, which they get by xDS. It must be the same for every replica and
every classifier, and it must be possible to replace it while all of them run. They hear of a
rotation at different times: a classifier may read the database later than an edge gets its
configuration, and an edge that starts from a snapshot on its disk has an old secret.

So the database holds one random root, which nobody but the control plane and the classifiers reads,
and the number of a generation. Each generation's secret is derived from the root. At generation 7:

    generation 6   is accepted: edges that have not heard of the rotation, or start from disk
    generation 7   is accepted, and sent to the edges
    generation 8   is accepted: a classifier that has not heard of the next rotation yet knows it

A secret that has leaked opens the classifier until it has been replaced twice. Whoever knows it
can't derive another from it.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from control_plane.topology.storage import Store, Transaction, clock, moment, schema
from control_plane.topology.values import DatabaseFailed, Refused, Written

_T = schema.edge_secrets
_LEAST_GENERATION = 1
SETTLED_S = 30.0
"""How long after a rotation the next one is refused. Classifiers read the secrets more often."""


@dataclass(frozen=True, slots=True)
class EdgeSecret:
    """The secret of a generation, and those that are accepted beside it."""

    generation: int
    rotated_at: datetime
    grace_s: float
    """How long classifiers still answer without a secret; 0: no longer (see migration 0027)."""
    current: str = field(repr=False)
    """What edges are sent."""
    accepted: tuple[str, ...] = field(repr=False)
    """What classifiers accept: the current one, the one before and the next."""

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain JSON types, without anything secret."""
        return {
            "generation": self.generation,
            "rotated_at": self.rotated_at.isoformat(),
            "grace_s": round(self.grace_s, 3),
        }


class EdgeSecrets:
    """Reads and rotates the edges' secret; each method is one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self) -> EdgeSecret:
        """Return the present generation."""
        with self._store.read() as connection:
            return _read(connection)

    def rotate(
        self, *, actor: str, force: bool = False, dry_run: bool = False
    ) -> Written[EdgeSecret]:
        """Begin the next generation: the fleet is sent its secret with this revision.

        The caller has made sure that the fleet runs the present one.

        Raises:
            Refused: the present generation is younger than `SETTLED_S`, and ``force`` is False.
        """
        return self._store.written(actor, lambda tx: _rotate(tx, force=force), dry_run=dry_run)


def current(connection: Connection) -> str:
    """Return the secret that edges are sent."""
    row = _row(connection)
    return _derived(row.root, row.generation)


def _read(connection: Connection) -> EdgeSecret:
    return _edge_secret(_row(connection), clock(connection))


def _row(connection: Connection) -> Row[Any]:
    row = connection.execute(select(_T)).one_or_none()
    if row is None:
        raise DatabaseFailed("edge_secrets has lost its row: restore the table from a backup")
    return row


def _rotate(tx: Transaction, *, force: bool) -> EdgeSecret:
    before = _read(tx.connection)
    age_s = (tx.at - before.rotated_at).total_seconds()
    if age_s < SETTLED_S and not force:
        why = f"the last rotation was {max(0.0, age_s):.0f} s ago, a classifier may not know of it"
        raise Refused("to rotate the edges' secret", f"{why}: wait {SETTLED_S:.0f} s, or force it")
    tx.connection.execute(update(_T).values(generation=before.generation + 1, rotated_at=tx.at))
    after = _read(tx.connection)
    tx.touch_edge(answers=False)
    tx.log(
        "edge_secret",
        "rotate",
        "edge_secret",
        {"generation": before.generation},
        {"generation": after.generation},
    )
    return after


def _edge_secret(row: Row[Any], now: datetime) -> EdgeSecret:
    generations = (row.generation, row.generation - 1, row.generation + 1)
    accepted = tuple(_derived(row.root, one) for one in generations if one >= _LEAST_GENERATION)
    grace_s = (moment(row.demanded_at) - now).total_seconds()
    return EdgeSecret(
        row.generation, moment(row.rotated_at), max(0.0, grace_s), accepted[0], accepted
    )


def _derived(root: str, generation: int) -> str:
    """Return a generation's secret: 256 bits in hex."""
    return hmac.digest(root.encode(), f"edge {generation}".encode(), "sha256").hex()
