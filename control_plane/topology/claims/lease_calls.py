"""The claims protocol's part of the topology; the class is mixed into `Topology`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from control_plane.names import MAX_PAGE
from control_plane.topology.claims import leases, records, update
from control_plane.topology.storage.group_commit import Job, Write
from control_plane.topology.storage.store import Store
from control_plane.topology.values.change import Written
from control_plane.topology.values.claim import Lease, Record, RecordSpec


class LeaseCalls:
    """Updates of claims under leases; each method is one transaction."""

    _store: Store

    def begin_update(
        self,
        cell_id: int,
        creates: Sequence[RecordSpec],
        destroys: Sequence[RecordSpec],
        *,
        actor: str,
        idempotency_key: str | None = None,
    ) -> Written[Lease]:
        """Create claims and lock others for destruction, all or nothing, under a new lease.

        A value on both sides is replaced at commit. The same key again, within a day after the
        lease is settled, gives the same lease.

        Raises:
            Invalid: malformed, too large, or the key was used for another batch.
            NotFound: no such cell, or a destroyed claim doesn't exist.
            AlreadyExists: values are taken; lists all of them.
            Locked: another lease holds some; try later.
            Refused: the cell is retired, or another cell owns a destroyed claim.
        """
        return self._store.write_statements(
            self.beginning(cell_id, creates, destroys, actor=actor, idempotency_key=idempotency_key)
        )

    def commit_update(
        self, cell_id: int, lease: str, *, actor: str, reason: str | None = None
    ) -> int:
        """Make creates active and free what was to be destroyed; the revision. Idempotent.

        Raises:
            NotFound: the cell has no such lease.
            LeaseSettled: it was rolled back.
        """
        write = self.settling(cell_id, lease, "committed", actor=actor, reason=reason)
        return self._store.write_statements(write)

    def rollback_update(
        self, cell_id: int, lease: str, *, actor: str, reason: str | None = None
    ) -> int:
        """Free what was to be created and keep what was to be destroyed; the revision. Idempotent.

        Raises:
            NotFound: the cell has no such lease.
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
        """What `begin_update` does, to be carried out together with others.

        Raises:
            Invalid: malformed or too large. All else its result tells.
        """
        update.check_key(idempotency_key)
        wanted = update.check(creates, destroys)
        return leases.beginning(cell_id, wanted, actor=actor, idempotency_key=idempotency_key)

    def settling(
        self,
        cell_id: int,
        lease: str,
        outcome: leases.Outcome,
        *,
        actor: str,
        reason: str | None = None,
    ) -> Write[int]:
        """What `commit_update` and `rollback_update` do, to be carried out with others."""
        return leases.settling(cell_id, lease, outcome, actor=actor, reason=reason)

    def carry_out(self, writes: Sequence[Write[Any]]) -> Sequence[Job[Any]]:
        """Writes together, each with its own success or failure: `Job.result` gives or raises it.

        Returns when all are done.
        """
        return self._store.write_together(writes)

    def leases(
        self,
        cell_id: int | None = None,
        *,
        after: str | None = None,
        limit: int = 100,
        created_after: datetime | None = None,
    ) -> list[Lease]:
        """Open leases by uuid, after one; of every cell unless one is named."""
        with self._store.read() as connection:
            return records.open_leases(
                connection, cell_id, after=after, limit=limit, created_after=created_after
            )

    def records(
        self,
        cell_id: int,
        *,
        source_type: int,
        buckets: Collection[str] = (),
        after: bytes = b"",
        upto: bytes | None = None,
        limit: int = MAX_PAGE,
    ) -> tuple[list[Record], bool]:
        """A cell's records of one source type, by source id; True if cut (see `records`)."""
        with self._store.read() as connection:
            return records.by_source(connection, cell_id, source_type, buckets, after, upto, limit)

    def record(self, bucket: str, value: str) -> Record:
        """One record; raises `NotFound` or `Invalid`."""
        with self._store.read() as connection:
            return records.record(connection, bucket, value)
