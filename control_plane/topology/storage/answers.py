"""Answers that were given under an idempotency key, to be given again for the same key."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select, update

from control_plane.topology.storage import schema
from control_plane.topology.storage.idempotency import (
    MAX_AGE,
    PENDING,
    Once,
    Remembered,
    insert_key,
)
from control_plane.topology.storage.statements import moment
from control_plane.topology.storage.store import Store
from control_plane.topology.storage.transaction import Transaction

_T = schema.idempotency


class Answers:
    """Remembers answers for a day at most, and a bounded number of them for each caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def recall(self, key: str) -> Remembered | None:
        """Return what is remembered under a key."""
        with self._store.read() as connection:
            row = connection.execute(select(_T).where(_T.c.key == key)).one_or_none()
        if row is None or datetime.now(UTC) - moment(row.at) > MAX_AGE:
            return None
        return Remembered(row.fingerprint, row.status, row.headers, row.body, row.since)

    def remember(self, request: Once, answer: Remembered) -> bool:
        """Store a request's answer under its key; return False if another request has the key."""

        def work(tx: Transaction) -> bool:
            connection = tx.connection
            if not request.written:
                return insert_key(connection, request, answer, tx.at)
            values = {
                "status": answer.status,
                "headers": answer.headers,
                "body": answer.body,
                "size": answer.size,
            }
            own = (_T.c.key == request.key) & (_T.c.status == PENDING)
            # This updates nothing if the key was deleted meanwhile, to make room for newer ones.
            connection.execute(update(_T).where(own).values(values))
            return True

        return self._store.write("idempotency", work)[0]
