"""Work out the revision that a write reports."""

from __future__ import annotations

from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.change import Written


def written[T](value: T, tx: Transaction) -> Written[T]:
    """Return a write's value with its changes and its revision.

    A write that changed nothing, and a dry run, took no revision: they report the current one.
    """
    revision = tx.revision if tx.took_revision else tx.revision - 1
    return Written(value, revision, tuple(tx.changes))
