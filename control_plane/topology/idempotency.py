"""Remembers the answers of writes, so that a repeated request isn't carried out twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, func, insert, select

from control_plane.topology import schema

MAX_AGE = timedelta(hours=24)
MAX_ROWS = 10_000
_T = schema.idempotency


@dataclass(frozen=True, slots=True)
class Remembered:
    """The answer that was given for a key; ``fingerprint`` is of the request."""

    fingerprint: str
    status: int
    headers: str
    body: str


def recall(connection: Connection, key: str) -> Remembered | None:
    """The answer under this key, if it is younger than a day."""
    row = connection.execute(select(_T).where(_T.c.key == key)).one_or_none()
    if row is None:
        return None
    at = row.at if row.at.tzinfo else row.at.replace(tzinfo=UTC)
    if datetime.now(UTC) - at > MAX_AGE:
        return None
    return Remembered(row.fingerprint, row.status, row.headers, row.body)


def remember(connection: Connection, key: str, answer: Remembered) -> None:
    """Keep an answer; the oldest go when there are too many."""
    now = datetime.now(UTC)
    connection.execute(delete(_T).where((_T.c.key == key) | (_T.c.at < now - MAX_AGE)))
    surplus = connection.execute(select(func.count()).select_from(_T)).scalar_one() - MAX_ROWS + 1
    if surplus > 0:
        oldest = select(_T.c.key).order_by(_T.c.at).limit(surplus)
        connection.execute(delete(_T).where(_T.c.key.in_(oldest)))
    connection.execute(
        insert(_T).values(
            key=key,
            fingerprint=answer.fingerprint,
            status=answer.status,
            headers=answer.headers,
            body=answer.body,
            at=now,
        )
    )
