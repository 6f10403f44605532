"""The topology as one object, with a component for each area."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import Engine

from control_plane.topology import changes, edge_secrets, operations, rulesets, tokens
from control_plane.topology.cells import CellCache, Cells, EdgeHealth, FleetReports, Sequences
from control_plane.topology.claims import (
    Bulk,
    Claims,
    History,
    Leases,
    Moves,
    OpenLeases,
    Records,
    Releases,
    all_epochs,
)
from control_plane.topology.lookup import (
    AllOwners,
    BatchedLookup,
    ClaimLookup,
    all_owners,
    open_batched_lookup,
    open_lookup,
)
from control_plane.topology.maintenance.desired import DesiredState
from control_plane.topology.storage import (
    Answers,
    MarkFile,
    Store,
    dialect_of,
    migrate,
    pending_migrations,
    refuse_anew,
)
from control_plane.topology.values import EndpointPolicy, TopologyError, TopologySnapshot


class MigrationsPending(TopologyError):
    """The database's schema is older than this program's."""


class Topology:
    """The source of truth. Blocking and thread-safe.

    Each component reads and writes one area: ``topology.cells.create(…)``,
    ``topology.leases.begin(…)``. A write returns its revision. It takes ``actor`` (who asks, for
    the audit), and most take ``dry_run``: check everything, return what would change, and roll
    back.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cell_cache = CellCache()
        self.cells = Cells(store)
        self.sequences = Sequences(store)
        self.edge_health = EdgeHealth(store)
        self.fleet_reports = FleetReports(store)
        self.claims = Claims(store)
        self.leases = Leases(store)
        self.open_leases = OpenLeases(store, self.leases)
        self.records = Records(store)
        self.moves = Moves(store)
        self.releases = Releases(store)
        self.bulk = Bulk(store)
        self.rulesets = rulesets.Rulesets(store)
        self.desired = DesiredState(store)
        self.changes = changes.Changes(store)
        self.history = History(store)
        self.operations = operations.Operations(store)
        self.tokens = tokens.Tokens(store)
        self.edge_secrets = edge_secrets.EdgeSecrets(store)
        self.owners = AllOwners(store)
        self.idempotency = Answers(store)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        migrate_first: bool = True,
        sequence_mark: Path | None = None,
        anew: bool = False,
        endpoint_policy: EndpointPolicy | None = None,
    ) -> Topology:
        """Open the database at a SQLAlchemy URL.

        Args:
            url: the database.
            migrate_first: bring an older schema up to date first.
            sequence_mark: a file outside the database and its backups that remembers the highest
                id ever allotted, so that a restored database can't allot ids again.
            anew: make a new database although that file says that there has been one.
            endpoint_policy: where cells may be; None for what is denied everywhere.

        Raises:
            MigrationsPending: the schema is older, and ``migrate_first`` is False.
            Invalid: there is no such database, or the mark file is malformed.
            Refused: the schema is newer than this program; or there is no database where one has
                been, and ``anew`` is False.
            Unavailable, DatabaseTrouble: the database can't be used.
        """
        mark = None if sequence_mark is None else MarkFile(sequence_mark)
        store = Store(url, mark, endpoint_policy)
        with ExitStack() as undo:
            undo.callback(store.close)
            if migrate_first:
                store.hold()
                if not anew:
                    refuse_anew(store)
                migrate(store.engine)
            elif pending := pending_migrations(store.engine):
                missing = ", ".join(pending)
                raise MigrationsPending(f"run `cellway db migrate`; missing: {missing}")
            topology = cls(store)
            topology.sequences.raise_mark_file()
            undo.pop_all()
        return topology

    def close(self) -> None:
        """Close every connection."""
        self._store.close()

    @property
    def endpoint_policy(self) -> EndpointPolicy:
        """Where cells may be."""
        return self._store.endpoint_policy

    @property
    def engine(self) -> Engine:
        """The engine of the database, for those who time its statements."""
        return self._store.engine

    @property
    def url(self) -> str:
        """The database's URL, with its password: for processes of ours, and for no log."""
        return self._store.url

    @property
    def write_engine(self) -> Engine | None:
        """The engine of writes, if it is another one."""
        return self._store.write_engine

    @property
    def embedded(self) -> bool:
        """Whether the database runs inside this process, so that no look-up blocks for long."""
        return dialect_of(self._store.engine).embedded

    @property
    def write_trouble(self) -> str | None:
        """Why writes fail; None while they work, as far as `check_writes` and the writes told."""
        return self._store.writability.trouble

    def check_writes(self) -> None:
        """Find out whether writes work. Call it every few seconds."""
        self._store.check_writes()

    def log_bytes(self) -> int | None:
        """Return the size of the database's log, if it is ours to look after (SQLite)."""
        return self._store.log_bytes()

    def subscribe(self, hint: Callable[[int], None]) -> Callable[[], None]:
        """Call ``hint(revision)`` in the committing thread after each commit made here.

        Returns:
            A function that ends it.
        """
        return self._store.subscribe(hint)

    def notifications(self) -> AsyncIterator[str]:
        """Yield the server's notifications of commits, see `Dialect.notifications`."""
        return dialect_of(self._store.engine).notifications()

    def tell(self, revision: int) -> None:
        """Pass another process's commit on to the subscribers of this one."""
        self._store.tell(revision)

    def claim_lookup(self) -> ClaimLookup:
        """Open a look-up for one event loop's use."""
        return open_lookup(self._store.engine)

    def batched_lookup(self) -> BatchedLookup | None:
        """Open a look-up that does not block; None on SQLite, where none blocks for long."""
        return open_batched_lookup(self._store.engine)

    def revision(self) -> int:
        """Return the revision of the last commit."""
        with self._store.read() as connection:
            return changes.revision(connection)

    def snapshot(self) -> TopologySnapshot:
        """Return cells, active ruleset, epochs and the edges' secrets at one revision."""
        with self._store.read() as connection:
            revisions = changes.revisions(connection)
            return TopologySnapshot(
                *revisions,
                self._cell_cache.read(connection, revisions.revision),
                rulesets.active(connection),
                all_epochs(connection),
                edge_secrets.current(connection),
                all_owners.key(connection),
            )
