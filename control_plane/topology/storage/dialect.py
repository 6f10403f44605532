"""What differs between SQLite and PostgreSQL, as one object, chosen when a database is opened.

`engines.dialect_for` makes it from the database's URL. Each engine that it opens carries it, so
that code that is handed a connection finds it again (`dialect_of`). Code outside of `storage` asks
at most whether a database is embedded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL

from control_plane.topology.storage.file_lock import FileLock

type SqlAndParams = tuple[str, Sequence[Any]]
"""SQL text with ``?`` for each parameter (see `statements`), and the parameters."""
type CountAndRows = tuple[int, list[tuple[Any, ...]]]
"""How many rows a statement changed, and the rows that it returned."""
_OPTION = "cellway_dialect"
"""The name of the execution option in which each engine carries its dialect."""


class Dialect(ABC):
    """How one kind of database is opened and spoken to."""

    embedded: ClassVar[bool]
    """Whether the database runs inside this process. Then a statement costs no round trip, a
    look-up takes microseconds, and no server tells of other processes' commits."""
    write_tries: ClassVar[int]
    """How often a write is tried while other writers are in its way or the connection is lost."""
    now: ClassVar[str]
    """An SQL expression: the time by the database's clock."""
    notify: ClassVar[str]
    """An SQL expression for a write of the table ``revisions``: after the commit, the server tells
    the new revision to every process that listens."""

    def __init__(self, url: URL) -> None:
        self.url = url

    @property
    def options(self) -> dict[str, Any]:
        """Execution options that every engine of this dialect is made with."""
        return {_OPTION: self}

    @property
    @abstractmethod
    def file(self) -> Path | None:
        """The file that holds the whole database, if there is one."""

    @abstractmethod
    def exists(self) -> bool:
        """Tell whether there is a database; of a server, that is for the server to say."""

    @abstractmethod
    def make(self) -> None:
        """Make the file of a database that isn't there."""

    @abstractmethod
    def hold(self, *, make: bool) -> FileLock:
        """Keep a restore from replacing the database while this process uses it.

        With ``make``, make the file that this needs. Without it, and without such a file, nothing
        is held.

        Raises:
            Unavailable: a restore is under way.
        """

    @abstractmethod
    def open_readers(self) -> Engine:
        """Open connections for reads; each transaction sees one snapshot."""

    @abstractmethod
    def open_writer(self, readers: Engine) -> Engine:
        """Open the one connection of this process that writes."""

    @abstractmethod
    def check_writable(self, connection: Connection) -> None:
        """Ask whether the database takes writes, as far as a read can tell.

        Raises:
            ReadOnly: it doesn't.
        """

    @abstractmethod
    def history(self, connection: Connection) -> str:
        """Return what tells this database from one whose revisions mean other changes; or "".

        Raises:
            Unavailable: the connection leads to a standby, which may lack what others have seen.
        """

    @abstractmethod
    def log_bytes(self) -> int | None:
        """Return the size of the write-ahead log that is ours to look after; None if none is."""

    @abstractmethod
    def shorten_log(self, connection: Connection) -> None:
        """Empty that log, if no read needs it, should it be longer than usual."""

    @abstractmethod
    def lock_revision(self, connection: Connection) -> tuple[int, datetime]:
        """Begin a write: lock the revision against other writers; return it, and the time now."""

    @abstractmethod
    def run(self, connection: Connection, statements: Sequence[SqlAndParams]) -> list[CountAndRows]:
        """Run statements on the driver itself, in order, in the connection's transaction."""

    @abstractmethod
    def insert(self, connection: Connection, head: str, rows: Sequence[Sequence[Any]]) -> int:
        """Insert rows in bulk, except those whose key exists, and return how many were inserted.

        Args:
            connection: in a transaction.
            head: ``INSERT INTO table (columns)``.
            rows: of equal length, one value a column.
        """

    @abstractmethod
    def stored(self, at: datetime) -> datetime | str:
        """Return a time in the form that the driver stores, for a parameter of `run`."""

    @abstractmethod
    def notifications(self) -> AsyncIterator[str]:
        """Yield the text of each notification of a commit that any process makes: its revision.

        They are hints: they may be lost, late or doubled, and anybody can send nonsense. On an
        embedded database there are none, and the iterator ends at once.

        Raises:
            Unavailable: the connection is lost, or none can be made.
        """

    @abstractmethod
    def for_migrations(self, engine: Engine) -> Engine:
        """Return an engine whose transactions suit migrations."""

    @abstractmethod
    def lock_migrations(self, connection: Connection) -> None:
        """Keep other processes from migrating until the connection's transaction ends.

        It waits for one that migrates, however long that takes.
        """


def dialect_of(bound: Engine | Connection) -> Dialect:
    """Return the dialect of an engine, or of a connection of one."""
    dialect: Dialect = bound.get_execution_options()[_OPTION]
    return dialect
