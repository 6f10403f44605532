"""What the readers of the owners stream say of their tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from control_plane.owners.frames import (
    AGENT_DISK,
    AGENT_LIVE,
    CONTROL_PLANE,
    NEVER_MS,
    ClientMessage,
)

SOURCES = {CONTROL_PLANE: "control plane", AGENT_LIVE: "its agent", AGENT_DISK: "its agent's disk"}
"""Where a table comes from, in words."""


@dataclass(frozen=True, slots=True)
class TableStatus:
    """A reader's table as the reader told it last."""

    node: str
    """The node's id; empty where neither the reader nor its certificate names it."""
    peer: str
    revision: int
    """Up to which the table is complete; 0: the reader has no whole table yet."""
    is_current: bool
    """Whether it is the table that is served here."""
    names: int
    lag_s: float
    """How long the table was not known to be current, when this is asked."""
    source: str

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain JSON types."""
        return {
            "revision": self.revision,
            "current_table": self.is_current,
            "names": self.names,
            "lag_s": round(self.lag_s, 3),
            "source": self.source,
        }


@dataclass(slots=True)
class Reader:
    """One stream, as far as others want to know of it."""

    node: str
    peer: str
    since: float
    """When it came, by the server's clock."""
    last: ClientMessage | None = None
    """Its last STATUS; None until its table is whole."""
    at: float = 0.0
    """When that came."""
    told_ahead: bool = False
    """Whether the log says that it has more than the server."""

    def status(self, now: float, table: int) -> TableStatus:
        """Return what is known of the reader's table.

        Args:
            now: The time, by the server's clock.
            table: The table that is served.
        """
        if self.last is None:
            return TableStatus(self.node, self.peer, 0, False, 0, now - self.since, "")
        said = self.last
        # A reader whose table is whole, but that has heard no beat yet, can't say how old it is.
        known = said.lag_ms < NEVER_MS
        lag_s = said.lag_ms / 1000 + now - self.at if known else now - self.since
        source = SOURCES.get(said.source, "")
        is_current = said.table == table
        return TableStatus(
            self.node, self.peer, said.revision, is_current, said.names, lag_s, source
        )


def by_node(statuses: Iterable[TableStatus], known: Mapping[str, str]) -> dict[str, TableStatus]:
    """Return the status of each node: of several streams, that which lags least.

    Args:
        statuses: Those of all readers.
        known: The ids of nodes by the address of their connection. An Envoy that has no certificate
            does not say here who it is, but gets its configuration by the same connection.
    """
    best: dict[str, TableStatus] = {}
    for one in sorted(statuses, key=lambda one: -one.lag_s):
        best[one.node or known.get(one.peer, one.peer)] = one
    return best
