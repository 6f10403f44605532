"""What operators ask of claims; the class is mixed into `Topology`."""

from __future__ import annotations

from control_plane.topology import cells, leases, operations, records
from control_plane.topology.errors import LeaseSettled
from control_plane.topology.leases import Outcome
from control_plane.topology.model import Change, Written
from control_plane.topology.operations import Subject
from control_plane.topology.store import Store
from control_plane.topology.transaction import Transaction

MAX_AUDIT = 1000
SETTLE_PAGE = 100


class OperatorCalls:
    """Each method is one transaction, or a row of bounded ones that can be broken off."""

    _store: Store

    def settle_leases(self, cell: str, outcome: Outcome, *, reason: str, actor: str) -> int:
        """Settle every open lease of a cell that can't do so itself; how many.

        The cell is the authority for its outcomes: this is for a cell that won't come back. Each
        lease is a transaction of its own; what is broken off is continued by calling again.

        Raises:
            Invalid: without a reason.
            NotFound: no such cell.
        """
        operations.check_reason(reason)
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
                try:
                    leases.settle(
                        self._store, cell_id, lease.uuid, outcome, actor=actor, reason=reason
                    )
                except LeaseSettled:
                    # The cell was quicker: its word counts.
                    continue
                settled += 1
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
            return operations.transfer(tx, subject, source, target, reason)

        moved, tx = self._store.write(actor, work, dry_run=dry_run)
        return Written(
            moved, tx.revision if tx.took_revision else tx.revision - 1, tuple(tx.changes)
        )

    def release_cell(self, cell: str, *, reason: str, actor: str) -> int:
        """Free all claims of a retired cell, a bounded batch a transaction; how many.

        What is broken off is continued by calling again.

        Raises:
            NotFound: no such cell.
            Refused: it is not retired, or has open leases.
        """
        total = 0
        while True:
            done, _ = self._store.write(actor, lambda tx: operations.release_some(tx, cell, reason))
            total += done
            if done < operations.RELEASE_BATCH:
                return total

    def audit(self, bucket: str, value: str, *, limit: int = 100) -> list[Change]:
        """The newest changes of a claim, oldest first, with what became of their leases.

        As far as the change feed reaches back; the claim need not exist any more.
        """
        with self._store.read() as connection:
            return operations.audit(connection, bucket, value, min(max(limit, 1), MAX_AUDIT))
