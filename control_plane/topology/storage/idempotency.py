"""Carries a request out once: its idempotency key is stored in the transaction of its first write.

Several replicas may get the same request at the same moment. Because the key goes into the database
together with what the request writes, one of them writes and the others find the key: they answer
what the first has answered. The answer itself follows in a transaction of its own:

    status      the row of a key in the table ``idempotency``
    (no row)    nothing is written yet
    0           the request is carried out, at least in part; its answer is not there yet
    1           the request is carried out, and its answer is not stored: it had a secret, was an
                error of ours, or was too large
    100 …       the answer, with its HTTP status

A request whose key is there without an answer is never carried out again, because it may have
written everything already.

Keys are bounded in number and in bytes (see `make_room`). Each caller has bounds of its own, so
that one caller's keys push out only that caller's oldest.
"""

from __future__ import annotations

import logging
import random
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
MAX_ROWS_OF_CALLER = 10_000
MAX_BYTES_OF_CALLER = 32 << 20
MAX_BYTES_OF_ALL = 256 << 20
"""Of all callers together. The caller with the most bytes then loses its oldest keys."""
MAX_ANSWER_BYTES = 64 << 10
"""Larger answers are not stored."""
ROW_BYTES = 512
"""What a row counts for beside its answer."""
CHECK_TOTAL_EVERY = 64
"""In about one of so many transactions, the bytes of all callers are added up."""
PENDING = 0
"""The status of a key whose answer is not there yet."""
UNKEPT = 1
"""The status of a key whose answer is not stored."""
log = logging.getLogger(__name__)
_T = schema.idempotency
_SIZE = func.coalesce(func.sum(_T.c.size), 0)
_INSERT = """
INSERT INTO idempotency (key, fingerprint, status, headers, body, since, at, caller, size)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
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
    def size(self) -> int:
        """How many bytes it counts for among its caller's."""
        return ROW_BYTES + len(self.headers.encode()) + len(self.body.encode())

    @property
    def answered(self) -> bool:
        """Whether there is an answer to give again."""
        return self.status not in {PENDING, UNKEPT}


@dataclass(slots=True)
class Once:
    """A request that is under way under its key."""

    key: str
    fingerprint: str
    caller: str = ""
    """Whose key it is: text of at most 64 characters."""
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
        pending = Remembered(self.fingerprint, PENDING, "", "", before)
        if not insert_key(connection, self, pending, at):
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


def insert_key(connection: Connection, request: Once, answer: Remembered, at: datetime) -> bool:
    """Make room for a request's key and store it; return False if it is there already."""
    make_room(connection, request.caller, at)
    row = (request.key, answer.fingerprint, answer.status, answer.headers, answer.body)
    counted = (answer.since, stored(connection, at), request.caller, answer.size)
    (result,) = execute(connection, [Statement(_INSERT, row + counted)])
    return result.count == 1


def make_room(connection: Connection, caller: str, at: datetime) -> None:
    """Delete keys older than `MAX_AGE`, and the oldest ones where there are too many.

    A caller with too many rows or bytes loses its own oldest. If all callers together have too many
    bytes, the one that has the most loses its oldest: so no caller can push out the keys of one
    that has less.
    """
    connection.execute(delete(_T).where(_T.c.at < at - MAX_AGE))
    rows, size = connection.execute(select(func.count(), _SIZE).where(_T.c.caller == caller)).one()
    _forget(
        connection, caller, rows - MAX_ROWS_OF_CALLER + 1,
        size + MAX_ANSWER_BYTES + ROW_BYTES - MAX_BYTES_OF_CALLER,
    )  # fmt: skip
    # No secret depends on which transaction adds up.
    if random.random() * CHECK_TOTAL_EVERY < 1:  # noqa: S311
        sizes = select(_T.c.caller, _SIZE).group_by(_T.c.caller).order_by(_SIZE.desc())
        counted = connection.execute(sizes).all()
        if counted:
            total = sum(int(row[1]) for row in counted)
            _forget(connection, counted[0][0], 0, total - MAX_BYTES_OF_ALL)


def _forget(connection: Connection, caller: str, rows: int, size: int) -> None:
    """Delete a caller's oldest keys: at least so many, and at least so many bytes of them."""
    if rows <= 0 and size <= 0:
        return
    # A few more, so that not each of the next writes has to.
    rows, size = rows + MAX_ROWS_OF_CALLER // 100, size + MAX_BYTES_OF_CALLER // 100
    oldest = select(_T.c.key, _T.c.size, _T.c.at).where(_T.c.caller == caller).order_by(_T.c.at)
    keys: list[str] = []
    for row in connection.execute(oldest):
        if len(keys) >= rows and size <= 0:
            break
        keys.append(row.key)
        size -= row.size
    connection.execute(delete(_T).where(_T.c.key.in_(keys)))
    text = "idempotency: the %d oldest keys of caller %r are forgotten early: it has too many"
    log.warning(text, len(keys), caller)
