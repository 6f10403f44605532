"""A write in progress, and how it takes its revision.

The table ``revisions`` has one row. A write updates it before it commits, and so locks it until the
commit: revisions are without gaps, and commits come in their order. ``edge_revision`` in the same
row is the revision of the last change to a cell or the active ruleset; ``answers_revision`` that of
the last one that can change which cell a request gets.
"""

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
from control_plane.topology.values import Change, EndpointPolicy, Written

MAX_ACTOR_CHARS = 256
_DENIED_EVERYWHERE = EndpointPolicy()
_TOUCH_EDGE_AND_ANSWERS = Statement("UPDATE revisions SET edge_revision = revision")
"""``answers_as_of`` no longer fits then, so that readers take ``edge_revision`` for the answers."""
_TOUCH_EDGE_ONLY = Statement(
    "UPDATE revisions SET answers_revision = CASE WHEN answers_as_of = edge_revision"
    " THEN answers_revision ELSE edge_revision END,"
    " answers_as_of = revision, edge_revision = revision"
)
"""This keeps the revision of the last change of an answer (see `schema.revisions`)."""


@dataclass(slots=True)
class Transaction:
    """A write in progress. It collects its changes, and one revision covers them all."""

    connection: Connection
    revision: int
    """The revision that the write has, or will take if it changes anything."""
    actor: str
    at: datetime
    """The time of the write, by the database's clock."""
    changes: list[Change] = field(default_factory=list)
    appended: int = 0
    """How many entries went to the change feed in bulk, and not by way of ``changes``."""
    touched_edge: bool = False
    touched_answers: bool = False
    sequence_mark: MarkFile | None = None
    endpoint_policy: EndpointPolicy = _DENIED_EVERYWHERE
    """Where cells may be."""
    before_commit: list[Callable[[], None]] = field(default_factory=list)
    """Steps outside the database that must be done before the commit; an error rolls back."""
    took_revision: bool = False
    abandoned: bool = False
    """Whether to roll back without an error, because nothing is to be changed after all."""

    def log(
        self,
        kind: str,
        action: str,
        key: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        """Append an entry to the change feed, in this transaction."""
        self.changes.append(
            Change(self.revision, kind, action, key, before, after, self.actor, self.at)
        )

    def touch_edge(self, *, answers: bool) -> None:
        """Record that a cell or the active ruleset changes.

        With ``answers``, the change may also change which cell a request gets.
        """
        self.touched_edge = True
        self.touched_answers = self.touched_answers or answers

    def written[T](self, value: T) -> Written[T]:
        """Return this write's value, with its changes and the revision that is current after it.

        That is the write's own revision if it took one, else the last one before it: a dry run and
        a write that changed nothing take none. Call it after the transaction has ended.
        """
        revision = self.revision if self.took_revision else self.revision - 1
        return Written(value, revision, tuple(self.changes))

    def due(self, every: int) -> bool:
        """Return True in about one of ``every`` transactions, for work that is done now and then.

        It is the revision's checksum that decides. The revision itself would not do: if one client
        begins and commits in turn, all begins have even revisions or all have odd ones.
        """
        return zlib.crc32(str(self.revision).encode()) % every == 0

    def execute(self, statements: Sequence[Statement]) -> list[Result]:
        """Run fixed statements in this transaction; nothing is sent where there are none."""
        return execute(self.connection, statements) if statements else []


def bounded(actor: str) -> str:
    """Return an actor's name in the form that is stored: short enough, and text without a NUL."""
    text = actor[:MAX_ACTOR_CHARS].encode(errors="replace").decode()
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


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
    statements = [taking_revision(tx.connection)]
    if tx.touched_edge:
        statements.append(_TOUCH_EDGE_AND_ANSWERS if tx.touched_answers else _TOUCH_EDGE_ONLY)
    execute(tx.connection, statements)
    tx.took_revision = True


def _rows(tx: Transaction) -> list[dict[str, Any]]:
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
        for ordinal, change in enumerate(tx.changes, tx.appended)
    ]
