"""Carries a request out once: its key is kept in the transaction of its first write.

So of two replicas that get the same request at the same moment one writes; the other finds the
key and tells what the first answered. The answer follows after the commit. What has a key and no
answer may have been done: it is never done again.
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
"""The status of what was carried out (at least in part) and whose answer isn't there yet."""
UNKEPT = 1
"""The status of what was carried out and whose answer isn't kept: an error of ours, a secret."""
_T = schema.idempotency
_KEEP = """
INSERT INTO idempotency (key, fingerprint, status, headers, body, since, at)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO NOTHING"""


@dataclass(frozen=True, slots=True)
class Remembered:
    """The answer that was given for a key; ``fingerprint`` is of the request.

    ``since``: the revision before the first of its writes; None where it wrote nothing.
    """

    fingerprint: str
    status: int
    headers: str
    body: str
    since: int | None = None

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
    """Whether one of its writes is committed: the key is kept with it."""
    beaten: bool = False
    """Whether another request under the key was quicker: none of its writes was done."""

    def keep(self, connection: Connection, before: int, at: datetime) -> None:
        """Keep the key in the transaction of a write; ``before`` is the revision it starts from.

        Raises:
            KeyTaken: another request has the key.
        """
        if self.written:
            return
        make_room(connection, at)
        if not insert_key(
            connection, self.key, Remembered(self.fingerprint, 0, "", "", before), at
        ):
            self.beaten = True
            raise KeyTaken(self.key)


_under_way: ContextVar[Once | None] = ContextVar("cellway_once", default=None)


@contextmanager
def once(request: Once) -> Iterator[None]:
    """What is written in this context (threads started from it, too) belongs to the request."""
    token = _under_way.set(request)
    try:
        yield
    finally:
        _under_way.reset(token)


def under_way() -> Once | None:
    """The request of this context, if it has a key."""
    return _under_way.get()


def insert_key(connection: Connection, key: str, answer: Remembered, at: datetime) -> bool:
    """Insert a key; return False if another request has it."""
    row = (key, answer.fingerprint, answer.status, answer.headers, answer.body, answer.since)
    done = execute(connection, [Statement(_KEEP, (*row, stored(connection, at)))])
    return done[0].count == 1


def make_room(connection: Connection, at: datetime) -> None:
    """Delete keys that are too old, and the oldest if there are too many."""
    connection.execute(delete(_T).where(_T.c.at < at - MAX_AGE))
    surplus = connection.execute(select(func.count()).select_from(_T)).scalar_one() - MAX_ROWS + 1
    if surplus > 0:
        oldest = select(_T.c.key).order_by(_T.c.at).limit(surplus)
        connection.execute(delete(_T).where(_T.c.key.in_(oldest)))
