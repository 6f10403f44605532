"""Look-ups on either engine, as their users see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from control_plane.topology.lookup.seen import FeedPosition, Seen
from control_plane.topology.values import KeyPair


class ClaimLookup(Protocol):
    """Looks up owners over a connection of its own, which blocks.

    It is not thread-safe: each event loop or thread opens its own.
    """

    def close(self) -> None:
        """Give the connection back."""

    def owners_of(self, keys: Sequence[KeyPair]) -> Seen:
        """Return the owners of keys, and what is committed, as of one moment.

        Without keys it returns only what is committed. On PostgreSQL that may be as old as
        `postgresql.POLL_S`, unless a notification has come since.
        """

    def owner_ids_of(self, keys: Sequence[KeyPair]) -> list[int | None]:
        """Return the owning cell's id of each key, in order; None where nobody owns it.

        It costs less than `owners_of`. The owners may be of several moments.
        """

    def edge_revision(self) -> int:
        """Return the revision of the last change to a cell or to the active ruleset."""

    def changed(self) -> bool:
        """Tell whether any process has committed anything since the last call.

        On PostgreSQL a lost notification can hide a commit for `postgresql.POLL_S`.
        """

    def feed_position(self) -> FeedPosition:
        """Return how far the change feed has come."""
