"""Look-ups: which cells own these keys, and as of which revision.

There are three ways to ask, all by the verb `owners_of`:

* `ClaimLookup` blocks. `SqliteLookup` takes microseconds, `PostgresqlLookup` a round trip.
* `BatchedLookup` does not block: it sends what many callers ask for in few round trips.
* `control_plane.classifier.cache` puts caches before a `BatchedLookup`.
"""

from __future__ import annotations

from sqlalchemy import Engine

from control_plane.topology.lookup.all_owners import AllOwners
from control_plane.topology.lookup.batched import BatchedLookup, TooManyLookups
from control_plane.topology.lookup.interface import ClaimLookup
from control_plane.topology.lookup.seen import Epochs, FeedPosition, Seen
from control_plane.topology.lookup.sqlite import SqliteLookup
from control_plane.topology.storage.dialect import dialect_of

__all__ = [
    "AllOwners",
    "BatchedLookup",
    "ClaimLookup",
    "Epochs",
    "FeedPosition",
    "Seen",
    "TooManyLookups",
    "open_batched_lookup",
    "open_lookup",
]


def open_lookup(engine: Engine) -> ClaimLookup:
    """Open a look-up on the database of an engine; the caller closes it."""
    if dialect_of(engine).embedded:
        return SqliteLookup(engine)
    # psycopg is an extra, and this imports it.
    from control_plane.topology.lookup.postgresql import PostgresqlLookup

    return PostgresqlLookup(engine)


def open_batched_lookup(engine: Engine) -> BatchedLookup | None:
    """Open a look-up that does not block; None on SQLite, whose look-ups need no batching."""
    return None if dialect_of(engine).embedded else BatchedLookup(engine)
