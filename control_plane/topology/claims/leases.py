"""The claims protocol: cells begin, commit and roll back updates of claims under leases.

The protocol is that of GitLab's Topology Service. The cell is the authority and this service
follows: a lease never expires by itself. Each step is one transaction. Two things go beyond
GitLab's protocol: a value that one update destroys and creates is replaced in place, and a begin
that is repeated under its idempotency key returns the same lease.

An update that creates ``route:acme`` and destroys ``route:old`` goes through these states::

    begin      route:acme creating,  route:old destroying   both under the lease
    commit     route:acme active,    route:old deleted
    roll back  route:acme deleted,   route:old active
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import delete, select

from control_plane.topology.claims import conflicts, epochs, lease_log
from control_plane.topology.claims import lease_statements as sql
from control_plane.topology.claims.update import Update, check_key, check_update
from control_plane.topology.storage import (
    Job,
    Result,
    Statement,
    Store,
    Transaction,
    Write,
    bounded,
    schema,
)
from control_plane.topology.values import Lease, RecordSpec, Written

SETTLED_KEPT = timedelta(hours=24)
"""How long a settled lease is remembered; a repetition after that finds no lease."""
_PRUNE_EVERY = 512
_PRUNE_AT_ONCE = 4 * _PRUNE_EVERY
Outcome = Literal["committed", "rolled back"]


class Leases:
    """Updates of claims under leases; each method is one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(
        self,
        cell_id: int,
        creates: Sequence[RecordSpec],
        destroys: Sequence[RecordSpec],
        *,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Written[Lease]:
        """Create claims and lock others for destruction, all or nothing, under a new lease.

        A value on both sides is replaced at the commit. The same key again, within a day after
        the lease is settled, returns the same lease.

        Raises:
            Invalid: malformed, too large, or the key was used for another update.
            NotFound: there is no such cell, or a destroyed claim doesn't exist.
            AlreadyExists: values are taken, also by a pending create; lists all of them.
            Locked: another lease is destroying a wanted value, or holds a destroyed claim.
            Refused: the cell is retired, or another cell owns a destroyed claim.
        """
        return self._store.write_statements(
            self.beginning(cell_id, creates, destroys, actor=actor, idempotency_key=idempotency_key)
        )

    def commit(self, cell_id: int, lease: str, *, actor: str, reason: str | None = None) -> int:
        """Make creates active and delete what was to be destroyed; return the revision.

        A repetition returns the revision of the first time.

        Raises:
            NotFound: the cell has no such lease, or it was settled more than a day ago.
            LeaseSettled: it was rolled back.
        """
        write = self.settling(cell_id, lease, "committed", actor=actor, reason=reason)
        return self._store.write_statements(write)

    def roll_back(self, cell_id: int, lease: str, *, actor: str, reason: str | None = None) -> int:
        """Delete what was to be created and keep what was to be destroyed; return the revision.

        A repetition returns the revision of the first time.

        Raises:
            NotFound: the cell has no such lease, or it was settled more than a day ago.
            LeaseSettled: it was committed.
        """
        write = self.settling(cell_id, lease, "rolled back", actor=actor, reason=reason)
        return self._store.write_statements(write)

    def beginning(
        self,
        cell_id: int,
        creates: Sequence[RecordSpec],
        destroys: Sequence[RecordSpec],
        *,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Write[Written[Lease]]:
        """Return `begin` as a write, for `carry_out`; raise `Invalid` if it is malformed."""
        check_key(idempotency_key)
        update = check_update(creates, destroys)
        begin = _Begin(cell_id, update, bounded(actor), idempotency_key)
        return Write(begin.statements(), begin.finish, begin.actor, is_plain=begin.is_plain)

    def settling(
        self,
        cell_id: int,
        lease: str,
        outcome: Outcome,
        *,
        actor: str,
        reason: str | None = None,
    ) -> Write[int]:
        """Return `commit` or `roll_back` as a write, for `carry_out`."""
        settle = _Settle(cell_id, lease, outcome, bounded(actor))
        return Write(
            settle.statements(reason),
            settle.finish,
            settle.actor,
            ahead=True,
            is_plain=settle.is_plain if outcome == "committed" else None,
        )

    def carry_out(self, writes: Sequence[Write[Any]]) -> Sequence[Job[Any]]:
        """Carry out writes together, and return when all are done.

        Each succeeds or fails by itself: `Job.result` returns its result or raises its error.
        """
        return self._store.write_together(writes)


class _Begin:
    """One begin: its statements, and what their results mean."""

    def __init__(self, cell_id: int, update: Update, actor: str, key: str | None) -> None:
        self.actor = actor
        self._cell_id = cell_id
        self._update = update
        self._key = key
        self._fingerprint = update.fingerprint() if key is not None else None
        self._lease = str(uuid.uuid4())
        self._log = lease_log.begun(self._lease, cell_id, update)
        self._creates = sql.create_claims(self._lease, update.creates)
        self._locks = sql.lock_claims(self._lease, cell_id, update.destroys)

    def statements(self) -> list[Statement]:
        """Return all statements, in order."""
        lease, update = self._lease, self._update
        return [
            sql.open_lease(
                lease, self._cell_id, len(update.destroys), self._key, self._fingerprint
            ),
            *self._creates,
            *self._locks,
            *sql.store_replacements(lease, update.replaced),
            *lease_log.append(self._log, self.actor),
            *(epochs.claimed_under(lease) if self._creates else ()),
        ]

    def is_plain(self, results: list[Result]) -> bool:
        """Return whether the lease is open and has all that the update names."""
        return bool(results[0].count) and self._complete(results)

    def finish(self, tx: Transaction, results: list[Result]) -> Written[Lease]:
        """Return the lease, or raise why the update can't have one."""
        if not results[0].count:
            return conflicts.explain_unopened(tx, self._cell_id, self._key, self._fingerprint)
        if not self._complete(results):
            conflicts.explain_missing(tx, self._update, self._lease, self._cell_id)
        if tx.due(_PRUNE_EVERY):
            _prune(tx)
        lease = Lease(self._lease, self._cell_id, tx.at, tx.at)
        return Written(lease, tx.revision, lease_log.as_changes(self._log, tx))

    def _complete(self, results: list[Result]) -> bool:
        first_lock = 1 + len(self._creates)
        created = sum(one.count for one in results[1:first_lock])
        locked = sum(one.count for one in results[first_lock : first_lock + len(self._locks)])
        return (created, locked) == (len(self._update.creates), len(self._update.destroys))


class _Settle:
    """One commit or rollback: its statements, and what their results mean."""

    def __init__(self, cell_id: int, lease: str, outcome: Outcome, actor: str) -> None:
        self.actor = actor
        self._cell_id = cell_id
        self._lease = lease
        self._outcome = outcome
        self._commits = outcome == "committed"

    def statements(self, reason: str | None) -> list[Statement]:
        """Return the statements that suffice for most; `finish` runs what else is needed."""
        entry = lease_log.settled(self._lease, self._cell_id, self._outcome, reason)
        return [
            sql.settle_lease(self._lease, self._cell_id, self._outcome),
            sql.activate_claims(self._lease, "creating" if self._commits else "destroying"),
            *lease_log.append([entry], self.actor),
        ]

    def is_plain(self, results: list[Result]) -> bool:
        """Return whether the lease was open and destroys nothing."""
        return bool(results[0].rows) and not results[0].rows[0][0]

    def finish(self, tx: Transaction, results: list[Result]) -> int:
        """Delete claims as the outcome says; return the revision at which the lease was settled."""
        if not results[0].rows:
            return conflicts.explain_settled(tx, self._cell_id, self._lease, self._outcome)
        if not self._commits:
            self._delete_creates(tx)
        elif results[0].rows[0][0]:
            self._delete_destroys(tx)
        return tx.revision

    def _delete_creates(self, tx: Transaction) -> None:
        removed, _ = tx.execute(
            [sql.remove_claims(self._lease, "creating"), sql.forget_replacements(self._lease)]
        )
        epochs.freed(tx, [(row[0], row[1], row[2]) for row in removed.rows])
        entries = [lease_log.removed(row, self._lease) for row in removed.rows]
        tx.execute(lease_log.append(entries, self.actor, first=1))

    def _delete_destroys(self, tx: Transaction) -> None:
        replaced, removed, _ = tx.execute(
            [
                sql.apply_replacements(self._lease),
                sql.remove_claims(self._lease, "destroying"),
                sql.forget_replacements(self._lease),
            ]
        )
        epochs.freed(tx, [(row[0], row[1], row[2]) for row in removed.rows])
        entries = [lease_log.removed(row, self._lease) for row in removed.rows]
        entries += [lease_log.replaced(row, self._lease) for row in replaced.rows]
        tx.execute(lease_log.append(entries, self.actor, first=1))


def _prune(tx: Transaction) -> None:
    """Forget leases that were settled long ago, faster than new ones come."""
    leases = schema.leases.c
    old = (
        select(leases.uuid)
        .where(leases.settled_at < tx.at - SETTLED_KEPT)
        .order_by(leases.settled_at)
        .limit(_PRUNE_AT_ONCE)
    )
    tx.connection.execute(delete(schema.leases).where(leases.uuid.in_(old)))
