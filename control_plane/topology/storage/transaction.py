"""A write in progress, and how it takes its revision."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from control_plane.topology.storage import schema
from control_plane.topology.storage.dialect import dialect_of
from control_plane.topology.storage.mark_file import MarkFile
from control_plane.topology.storage.statements import Result, Statement, execute
from control_plane.topology.values.change import Change, Written

_TOUCH_EDGE = Statement("UPDATE revisions SET edge_revision = revision")
_TOUCH_EDGE_ONLY = Statement(
    "UPDATE revisions SET answers_revision = CASE WHEN answers_as_of = edge_revision"
    " THEN answers_revision ELSE edge_revision END,"
    " answers_as_of = revision, edge_revision = revision"
)
"""Answers stay as they are."""


@dataclass(slots=True)
class Transaction:
    """A write in progress: collects its changes; one revision covers them all."""

    connection: Connection
    revision: int
    actor: str
    at: datetime
    changes: list[Change] = field(default_factory=list)
    appended: int = 0
    """Entries that went to the change feed past ``changes``, in bulk."""
    touched_edge: bool = False
    touched_answers: bool = False
    sequence_mark: MarkFile | None = None
    before_commit: list[Callable[[], None]] = field(default_factory=list)
    """What must have happened outside the database before the commit; an error rolls back."""
    took_revision: bool = False
    abandoned: bool = False
    """Set where nothing is to be changed after all: roll back, without an error."""

    def log(
        self,
        kind: str,
        action: str,
        key: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        """Append to the change feed, in this transaction."""
        self.changes.append(
            Change(self.revision, kind, action, key, before, after, self.actor, self.at)
        )

    def touch_edge(self, *, answers: bool) -> None:
        """A cell or the active ruleset changes; ``answers``: so may which cell a request gets."""
        self.touched_edge = True
        self.touched_answers = self.touched_answers or answers

    def written[T](self, value: T) -> Written[T]:
        """Return what this write gave, with its changes and the revision that now stands.

        That is the write's own revision if it took one, else the last one before it: a dry run and
        a write that changed nothing take none. Call it after the transaction has ended.
        """
        revision = self.revision if self.took_revision else self.revision - 1
        return Written(value, revision, tuple(self.changes))

    def due(self, every: int) -> bool:
        """True in about one of so many transactions.

        Not by the revision itself: of one client that begins and commits in turn, all begins have
        even revisions or all have odd ones.
        """
        return zlib.crc32(str(self.revision).encode()) % every == 0

    def execute(self, statements: Sequence[Statement]) -> list[Result]:
        """Run fixed statements in this transaction."""
        return execute(self.connection, statements)


def bounded(actor: str) -> str:
    """An actor's name as it is kept; PostgreSQL keeps no NUL in text."""
    known = actor[:256].encode(errors="replace").decode()
    return known.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def taking_revision(connection: Connection, *, quietly: bool = False) -> Statement:
    """Return the statement that takes the next revision. Its row begins with revision and time.

    With ``quietly`` it wakes nobody: for a write that commits together with a later one that does.
    """
    dialect = dialect_of(connection)
    returned = "revision, at" if quietly else f"revision, at, {dialect.notify}"
    return Statement(
        f"UPDATE revisions SET revision = revision + 1, at = {dialect.now} RETURNING {returned}"  # noqa: S608 - no text from outside
    )


def take_revision(tx: Transaction) -> None:
    """Append the transaction's changes to the feed, and take its revision."""
    if tx.changes:
        tx.connection.execute(insert(schema.changes), _rows(tx))
    touch = [_TOUCH_EDGE if tx.touched_answers else _TOUCH_EDGE_ONLY] if tx.touched_edge else []
    execute(tx.connection, [taking_revision(tx.connection), *touch])
    tx.took_revision = True


def _rows(transaction: Transaction) -> list[dict[str, Any]]:
    return [
        {
            "revision": change.revision,
            "ordinal": ordinal,
            "kind": change.kind,
            "action": change.action,
            "key": change.key,
            "before": None if change.before is None else json.dumps(change.before),
            "after": None if change.after is None else json.dumps(change.after),
            "actor": change.actor,
            "at": change.at,
        }
        for ordinal, change in enumerate(transaction.changes, transaction.appended)
    ]
