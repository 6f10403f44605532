"""What operators ask of claims; the class is mixed into `Topology`."""

from __future__ import annotations

from datetime import datetime

from control_plane.topology import changes
from control_plane.topology import operations as progress
from control_plane.topology.cells import lifecycle as cells
from control_plane.topology.claims import leases, move, records
from control_plane.topology.claims.leases import Outcome
from control_plane.topology.claims.move import Subject
from control_plane.topology.claims.records import LeaseBacklog, OpenLease
from control_plane.topology.operations import Progress
from control_plane.topology.storage.store import Store
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.change import Change, Written
from control_plane.topology.values.errors import LeaseSettled

MAX_AUDIT = 1000
SETTLE_PAGE = 100


class OperatorCalls:
    """Each method is one transaction, or a row of bounded ones that can be broken off."""

    _store: Store

    def oldest_leases(
        self,
        cell: str | None = None,
        *,
        older_than_s: float = 0,
        after: tuple[datetime, str] | None = None,
        limit: int = 100,
    ) -> list[OpenLease]:
        """Open leases, the oldest first, after one; ages by the database's clock.

        Raises:
            NotFound: no such cell.
        """
        with self._store.read() as connection:
            cell_id = None if cell is None else cells.get(connection, cell).id
            return records.oldest_leases(connection, cell_id, older_than_s, after, limit)

    def open_lease(self, lease: str) -> OpenLease:
        """One open lease; raises `NotFound` if there is none, or it is settled."""
        with self._store.read() as connection:
            return records.open_lease(connection, lease)

    def count_leases(self, cell: str) -> int:
        """How many leases of a cell are open; raises `NotFound`."""
        with self._store.read() as connection:
            return records.count_leases(connection, cells.get(connection, cell).id)

    def lease_backlog(self) -> LeaseBacklog:
        """How many leases are open, and how old the oldest is: cause for alarm.

        By the database's clock. A lease never expires: reconciliation with its cell settles it, or
        an operator does; `oldest_leases` tells whose it is.
        """
        with self._store.read() as connection:
            return records.backlog(connection)

    def settle_lease(self, lease: str, outcome: Outcome, *, reason: str, actor: str) -> int:
        """Settle one open lease whose cell can't do so itself; the revision.

        Raises:
            Invalid: without a reason.
            NotFound: there is no such open lease.
            LeaseSettled: its cell was quicker, and settled it the other way.
        """
        move.check_reason(reason)
        cell_id = self.open_lease(lease).cell_id
        write = leases.settling(cell_id, lease, outcome, actor=actor, reason=reason)
        return self._store.write_statements(write)

    def settle_leases(
        self,
        cell: str,
        outcome: Outcome,
        *,
        reason: str,
        actor: str,
        progress: Progress = progress.nothing,
    ) -> int:
        """Settle every open lease of a cell that can't do so itself; how many.

        The cell is the authority for its outcomes: this is for a cell that won't come back. Each
        lease is a transaction of its own; what is broken off is continued by calling again.

        Raises:
            Invalid: without a reason.
            NotFound: no such cell.
        """
        move.check_reason(reason)
        with self._store.read() as connection:
            cell_id = cells.get(connection, cell).id
        settled = 0
        after: str | None = None
        while True:
            with self._store.read() as connection:
                page = records.open_leases(
                    connection, cell_id, after=after, limit=SETTLE_PAGE, created_after=None
                )
            for lease in page:
                write = leases.settling(cell_id, lease.uuid, outcome, actor=actor, reason=reason)
                try:
                    self._store.write_statements(write)
                except LeaseSettled:
                    # The cell was quicker: its word counts.
                    continue
                settled += 1
            progress(settled)
            if len(page) < SETTLE_PAGE:
                return settled
            after = page[-1].uuid

    def transfer(
        self,
        subject: Subject,
        source: str,
        target: str,
        *,
        reason: str,
        actor: str,
        dry_run: bool = False,
    ) -> Written[int]:
        """Move all claims of a subject from one cell to another in one step; how many.

        Raises:
            NotFound: no such cell, or no claim of the subject there.
            Refused: the target is retired, or the subject has more than 100,000 claims.
            Locked: a lease holds some of them.
        """

        def work(tx: Transaction) -> int:
            return move.transfer(tx, subject, source, target, reason)

        moved, tx = self._store.write(actor, work, dry_run=dry_run)
        return Written(
            moved, tx.revision if tx.took_revision else tx.revision - 1, tuple(tx.changes)
        )

    def count_claims_of(self, cell: str) -> int:
        """How many claims a cell has; raises `NotFound`."""
        with self._store.read() as connection:
            return move.count_claims(connection, cells.get(connection, cell).id)

    def release_cell(
        self, cell: str, *, reason: str, actor: str, progress: Progress = progress.nothing
    ) -> int:
        """Free all claims of a retired cell, a bounded batch a transaction; how many.

        What is broken off is continued by calling again.

        Raises:
            NotFound: no such cell.
            Refused: it is not retired, or has open leases.
        """
        total = 0
        while True:
            done, _ = self._store.write(actor, lambda tx: move.release_some(tx, cell, reason))
            total += done
            progress(total)
            if done < move.RELEASE_BATCH:
                return total

    def check_release(self, cell: str, *, reason: str, actor: str) -> None:
        """Raise what `release_cell` would, and keep nothing."""
        self._store.write(actor, lambda tx: move.release_some(tx, cell, reason), dry_run=True)

    def audit(
        self, bucket: str, value: str, *, before: int | None = None, limit: int = 100
    ) -> list[Change]:
        """The newest changes of a claim before a revision, with what became of their leases.

        Oldest first, as far as the change feed reaches back; the claim need not exist any more.
        """
        with self._store.read() as connection:
            limit = min(max(limit, 1), MAX_AUDIT)
            return move.audit(connection, bucket, value, limit, before)

    def audit_all(
        self,
        *,
        kind: str | None = None,
        actor: str | None = None,
        before: tuple[int, int] | None = None,
        limit: int = 100,
    ) -> tuple[list[Change], tuple[int, int] | None]:
        """Changes of any kind, newest first, before a (revision, ordinal); and where to go on.

        A page looks at `feed.WINDOW` revisions at most, so it may be short, and more follow.
        """
        with self._store.read() as connection:
            return changes.newest(connection, kind, actor, before, min(max(limit, 1), MAX_AUDIT))
