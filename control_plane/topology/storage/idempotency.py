"""Carries a request out once: its idempotency key is stored in the transaction of its first write.

Several replicas may get the same request at the same moment. Because the key goes into the database
together with what the request writes, one of them writes and the others find the key: they answer
what the first has answered. The answer itself follows in a transaction of its own:

    status      the row of a key in the table ``idempotency``
    (no row)    nothing is written yet
    0           the request is carried out, at least in part; its answer is not there yet
    1           the request is carried out, and its answer is not stored: it had a secret, or was an
                error of ours
    100 …       the answer, with its HTTP status

A request whose key is there without an answer is never carried out again, because it may have
written everything already.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, select

from control_plane.topology.storage import schema
from control_plane.topology.storage.statements import Statement, execute, stored
from control_plane.topology.values.errors import KeyTaken

MAX_AGE = timedelta(hours=24)
MAX_ROWS = 10_000
PENDING = 0
"""The status of a key whose answer is not there yet."""
UNKEPT = 1
"""The status of a key whose answer is not stored."""
_T = schema.idempotency
_INSERT = """
INSERT INTO idempotency (key, fingerprint, status, headers, body, since, at)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO NOTHING"""


@dataclass(frozen=True, slots=True)
class Remembered:
    """The answer that was given under a key."""

    fingerprint: str
    """Of the request. If another request has the same key, the client has made a mistake."""
    status: int
    headers: str
    body: str
    since: int | None = None
    """The revision before the first of the request's writes; None where it wrote nothing."""

    @property
    def answered(self) -> bool:
        """Whether there is an answer to give again."""
        return self.status not in {PENDING, UNKEPT}


@dataclass(slots=True)
class Once:
    """A request that is under way under its key."""

    key: str
    fingerprint: str
    written: bool = False
    """Whether one of its writes is committed, and the key with it."""
    beaten: bool = False
    """Whether another request under the key was quicker, so that none of its writes was done."""

    def store_key(self, connection: Connection, before: int, at: datetime) -> None:
        """Store the key in the transaction of a write, unless an earlier write has stored it.

        Args:
            connection: the transaction's.
            before: the revision from which the write starts.
            at: the time of the write.

        Raises:
            KeyTaken: another request has the key.
        """
        if self.written:
            return
        make_room(connection, at)
        pending = Remembered(self.fingerprint, PENDING, "", "", before)
        if not insert_key(connection, self.key, pending, at):
            self.beaten = True
            raise KeyTaken(self.key)


_under_way: ContextVar[Once | None] = ContextVar("cellway_once", default=None)


@contextmanager
def once(request: Once) -> Iterator[None]:
    """Count the writes in this context, and in threads started from it, as the request's."""
    token = _under_way.set(request)
    try:
        yield
    finally:
        _under_way.reset(token)


def under_way() -> Once | None:
    """Return the request of this context, if it has a key."""
    return _under_way.get()


def insert_key(connection: Connection, key: str, answer: Remembered, at: datetime) -> bool:
    """Store a key; return False if it is there already."""
    row = (key, answer.fingerprint, answer.status, answer.headers, answer.body, answer.since)
    (result,) = execute(connection, [Statement(_INSERT, (*row, stored(connection, at)))])
    return result.count == 1


def make_room(connection: Connection, at: datetime) -> None:
    """Delete keys older than `MAX_AGE`, and the oldest ones if there are `MAX_ROWS`."""
    connection.execute(delete(_T).where(_T.c.at < at - MAX_AGE))
    surplus = connection.execute(select(func.count()).select_from(_T)).scalar_one() - MAX_ROWS + 1
    if surplus > 0:
        oldest = select(_T.c.key).order_by(_T.c.at).limit(surplus)
        connection.execute(delete(_T).where(_T.c.key.in_(oldest)))
