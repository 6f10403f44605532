"""The topology as one object: each method is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine

from control_plane.names import MAX_PAGE
from control_plane.topology import changes as feed
from control_plane.topology import rulesets
from control_plane.topology.cells import cells
from control_plane.topology.cells.edge_health import EdgeHealth
from control_plane.topology.cells.sequence_calls import SequenceCalls
from control_plane.topology.claims import epochs, plain
from control_plane.topology.claims.bulk_calls import TransferCalls
from control_plane.topology.claims.lease_calls import LeaseCalls
from control_plane.topology.claims.operator_calls import OperatorCalls
from control_plane.topology.lookup.batched import BatchedLookup
from control_plane.topology.lookup.interface import ClaimLookup, open_lookup
from control_plane.topology.maintenance.desired import DesiredCalls
from control_plane.topology.operations import OperationCalls
from control_plane.topology.storage import idempotency
from control_plane.topology.storage.idempotency import Once, Remembered
from control_plane.topology.storage.mark_file import MarkFile
from control_plane.topology.storage.store import Store, migrate, pending_migrations
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.tokens import TokenCalls
from control_plane.topology.values.cell import Cell, CellSpec, CellState
from control_plane.topology.values.change import Change, Ruleset, Snapshot, Written
from control_plane.topology.values.claim import Claim, ClaimSpec
from control_plane.topology.values.errors import TopologyError


class MigrationsPending(TopologyError):
    """The database's schema is older than this program's."""


class Topology(
    LeaseCalls,
    OperatorCalls,
    OperationCalls,
    SequenceCalls,
    TransferCalls,
    DesiredCalls,
    TokenCalls,
):
    """The source of truth. Blocking and thread-safe; every write returns its revision.

    Writes take ``actor`` (who, for the audit), and ``dry_run``: everything is checked and told,
    nothing is kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.edge_health = EdgeHealth(store)
        self._known_cells = cells.KnownCells()

    @classmethod
    def open(
        cls, url: str, *, migrate_first: bool = True, sequence_mark: Path | None = None
    ) -> Topology:
        """Open the database at a SQLAlchemy URL, migrating it unless told otherwise.

        ``sequence_mark`` is a file outside the database and its backups that remembers the
        highest id ever allotted, so that a restored database can't allot ids again.

        Raises:
            MigrationsPending: it needs migrating and ``migrate_first`` is False.
            Invalid: no such database, or a malformed mark file.
        """
        store = Store(url, None if sequence_mark is None else MarkFile(sequence_mark))
        with ExitStack() as undo:
            undo.callback(store.close)
            if migrate_first:
                migrate(store.engine)
            elif pending := pending_migrations(store.engine):
                missing = ", ".join(pending)
                raise MigrationsPending(f"run `cellway db migrate`; missing: {missing}")
            topology = cls(store)
            topology.raise_sequence_mark()
            undo.pop_all()
        return topology

    def close(self) -> None:
        """Close every connection."""
        self._store.close()

    @property
    def engine(self) -> Engine:
        """The database, for those who time its statements."""
        return self._store.engine

    def subscribe(self, hint: Callable[[int], None]) -> Callable[[], None]:
        """Call ``hint(revision)`` in the committing thread after each commit made here."""
        return self._store.subscribe(hint)

    def tell(self, revision: int) -> None:
        """Another process has committed, as a hint says: pass it on to this one's subscribers."""
        self._store.tell(revision)

    def claim_lookup(self) -> ClaimLookup:
        """A look-up for one event loop's use."""
        return open_lookup(self._store.engine)

    def batched_lookup(self) -> BatchedLookup | None:
        """A look-up that does not block, for one event loop; None on SQLite, which needs none."""
        engine = self._store.engine
        return None if engine.dialect.name == "sqlite" else BatchedLookup(engine)

    def revision(self) -> int:
        """The revision of the last commit."""
        with self._store.read() as connection:
            return feed.revision(connection)

    def snapshot(self) -> Snapshot:
        """Cells, active ruleset and epochs at one revision."""
        with self._store.read() as connection:
            revisions = feed.revisions(connection)
            return Snapshot(
                *revisions,
                self._known_cells.read(connection, revisions.revision),
                rulesets.active(connection),
                epochs.all_epochs(connection),
            )

    def cells(self) -> tuple[Cell, ...]:
        """Every cell, by id."""
        with self._store.read() as connection:
            return cells.all_cells(connection)

    def cell(self, name: str) -> Cell:
        """One cell; raises `NotFound`."""
        with self._store.read() as connection:
            return cells.get(connection, name)

    def create_cell(self, spec: CellSpec, *, actor: str, dry_run: bool = False) -> Written[Cell]:
        """Add a cell; raises `Invalid` or `AlreadyExists`."""
        made, tx = self._store.write(actor, lambda tx: cells.create(tx, spec), dry_run=dry_run)
        return _written(made, tx, dry_run=dry_run)

    def update_cell(
        self,
        name: str,
        spec: CellSpec,
        *,
        actor: str,
        expected_version: int | None = None,
        force: bool = False,
        dry_run: bool = False,
    ) -> Written[Cell]:
        """Replace a cell's attributes; raises `StaleVersion`, `Refused`, `Invalid`, …"""
        made, tx = self._store.write(
            actor,
            lambda tx: cells.replace(tx, name, spec, expected_version, force=force),
            dry_run=dry_run,
        )
        return _written(made, tx, dry_run=dry_run)

    def set_cell_state(
        self,
        name: str,
        state: CellState,
        *,
        actor: str,
        expected_version: int | None = None,
        force: bool = False,
        dry_run: bool = False,
    ) -> Written[Cell]:
        """Move a cell to another state; raises `Refused` where that is not a step of its life."""

        def work(tx: Transaction) -> Cell:
            spec = replace(cells.get(tx.connection, name).spec(), state=state)
            return cells.replace(tx, name, spec, expected_version, force=force)

        made, tx = self._store.write(actor, work, dry_run=dry_run)
        return _written(made, tx, dry_run=dry_run)

    def set_cell_health(self, name: str, *, healthy: bool, actor: str) -> Written[Cell]:
        """Note what the health check says; the same again is no change."""
        made, tx = self._store.write(actor, lambda tx: cells.set_health(tx, name, healthy=healthy))
        return _written(made, tx, dry_run=False)

    def delete_cell(
        self, name: str, *, actor: str, expected_version: int | None = None, dry_run: bool = False
    ) -> Written[Cell]:
        """Remove a retired cell without claims; raises `Refused` otherwise."""
        gone, tx = self._store.write(
            actor, lambda tx: cells.remove(tx, name, expected_version), dry_run=dry_run
        )
        return _written(gone, tx, dry_run=dry_run)

    def claim(
        self, specs: Sequence[ClaimSpec], *, actor: str, dry_run: bool = False
    ) -> Written[tuple[Claim, ...]]:
        """Claim a batch, all or nothing; raises `AlreadyExists` listing all that are taken."""
        made, tx = self._store.write(actor, lambda tx: plain.claim(tx, specs), dry_run=dry_run)
        return _written(made, tx, dry_run=dry_run)

    def release(
        self,
        keys: Sequence[tuple[str, str]],
        *,
        actor: str,
        cell: str | None = None,
        dry_run: bool = False,
    ) -> Written[tuple[Claim, ...]]:
        """Release a batch, all or nothing; raises `NotFound` or `Refused`."""
        gone, tx = self._store.write(
            actor, lambda tx: plain.release(tx, keys, cell=cell), dry_run=dry_run
        )
        return _written(gone, tx, dry_run=dry_run)

    def claim_get(self, bucket: str, value: str) -> Claim:
        """One claim; raises `NotFound`."""
        with self._store.read() as connection:
            return plain.get(connection, bucket, value)

    def claims(
        self,
        *,
        bucket: str | None = None,
        cell: str | None = None,
        prefix: str | None = None,
        after: tuple[str, str] | None = None,
        limit: int = 100,
    ) -> list[Claim]:
        """A page of claims in key order."""
        with self._store.read() as connection:
            return plain.page(
                connection, bucket=bucket, cell=cell, prefix=prefix, after=after, limit=limit
            )

    def count_claims(self) -> dict[str, int]:
        """Claims per bucket."""
        with self._store.read() as connection:
            return plain.count(connection)

    def owners(self, keys: Sequence[tuple[str, str]]) -> list[int | None]:
        """The owning cell's id of each key, in order."""
        lookup = self.claim_lookup()
        try:
            return lookup.owners(keys)
        finally:
            lookup.close()

    def put_ruleset(
        self,
        name: str,
        document: str,
        *,
        actor: str,
        expected_version: int | None = None,
        dry_run: bool = False,
    ) -> Written[Ruleset]:
        """Keep a new version (not active). Whether it can work, the caller has checked."""
        made, tx = self._store.write(
            actor, lambda tx: rulesets.put(tx, name, document, expected_version), dry_run=dry_run
        )
        return _written(made, tx, dry_run=dry_run)

    def activate_ruleset(
        self,
        name: str,
        version: int,
        *,
        actor: str,
        expected_active: tuple[str, int] | None = None,
        dry_run: bool = False,
    ) -> Written[Ruleset]:
        """Make a version the one that routes."""
        made, tx = self._store.write(
            actor, lambda tx: rulesets.activate(tx, name, version, expected_active), dry_run=dry_run
        )
        return _written(made, tx, dry_run=dry_run)

    def active_ruleset(self) -> Ruleset | None:
        """The version that routes, if there is one."""
        with self._store.read() as connection:
            return rulesets.active(connection)

    def ruleset(self, name: str, version: int | None = None) -> Ruleset:
        """A version, the newest by default; raises `NotFound`."""
        with self._store.read() as connection:
            return rulesets.get(connection, name, version)

    def rulesets(self, name: str | None = None) -> list[Ruleset]:
        """Every version, oldest first."""
        with self._store.read() as connection:
            return rulesets.versions(connection, name)

    def changes(
        self, since: int, *, limit: int = MAX_PAGE, kinds: Collection[str] | None = None
    ) -> list[Change]:
        """Changes after a revision, in order; raises `Gone` when too old."""
        with self._store.read() as connection:
            return feed.since(connection, since, limit=limit, kinds=kinds)

    def prune_changes(
        self,
        *,
        older_than: timedelta | None = None,
        keep: int | None = None,
        archive: feed.Archive | None = None,
    ) -> feed.Pruned:
        """One bounded step of forgetting old changes; call again while there are ``more``.

        What is older than an age, or not among the last ``keep`` revisions; ``archive`` gets it
        first. The audit forgets it, too.
        """
        return self._store.write("prune", lambda tx: feed.prune(tx, older_than, keep, archive))[0]

    def prunable_changes(
        self, *, older_than: timedelta | None = None, keep: int | None = None
    ) -> tuple[int, int]:
        """What `prune_changes` would forget: how many, up to which revision. Reads them all."""
        with self._store.read() as connection:
            return feed.prunable(connection, older_than, keep)

    def oldest_change(self) -> int:
        """Changes up to this revision are no longer kept; 0: all are."""
        with self._store.read() as connection:
            return feed.oldest_change(connection)

    def recall(self, key: str) -> Remembered | None:
        """What is known under an idempotency key."""
        with self._store.read() as connection:
            return idempotency.recall(connection, key)

    def remember(self, request: Once, answer: Remembered) -> bool:
        """Keep a request's answer under its key; False if another request has the key."""
        return self._store.write(
            "idempotency",
            lambda tx: idempotency.remember(tx.connection, request, answer, tx.at),
        )[0]


def _written[T](value: T, tx: Transaction, *, dry_run: bool) -> Written[T]:
    revision = tx.revision if tx.changes and not dry_run else tx.revision - 1
    return Written(value, revision, tuple(tx.changes))
