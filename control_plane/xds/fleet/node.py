"""One Envoy of the fleet: its streams, and what is shown of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from control_plane.xds.fleet.envoy_version import outdated
from control_plane.xds.fleet.served_variant import ServedVariant
from control_plane.xds.session.session import Session
from control_plane.xds.session.status import SyncState, TypeStatus
from control_plane.xds.session.unsettled import Unsettled

_WORST_FIRST = (SyncState.NACKED, SyncState.STALE, SyncState.NOT_SENT, SyncState.SYNCED)


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One Envoy as the control plane sees it."""

    id: str
    group: str
    """The node's cluster, in Envoy's words."""
    version: str
    """Envoy's version, as ``1.40.0``."""
    connected: bool
    connected_at: datetime
    last_message_at: datetime
    acked_revision: int
    """The newest revision of which the node runs everything; 0: there is none."""
    state: SyncState
    types: tuple[TypeStatus, ...]
    variant: str
    """The variant of the configuration that it gets; empty: the plain one."""
    variant_refused: str
    """Why it gets the plain variant although it asks for another; empty: it does not."""

    @property
    def outdated(self) -> str:
        """Why an Envoy of this version should not be in the fleet; empty if it may be."""
        return outdated(self.version)

    def as_dict(self) -> dict[str, Any]:
        """Return the status as plain JSON types, as the API shows it."""
        return {
            "id": self.id,
            "group": self.group,
            "version": self.version,
            "outdated": self.outdated or None,
            "connected": self.connected,
            "connected_at": self.connected_at.isoformat(),
            "last_message_at": self.last_message_at.isoformat(),
            "acked_revision": self.acked_revision,
            "state": self.state,
            "variant": self.variant or None,
            "variant_refused": self.variant_refused or None,
            "types": [
                {
                    "type": status.type_url.rpartition(".")[2],
                    "state": status.state,
                    "acked_version": status.acked_version,
                    "sent_version": status.sent_version,
                    "error": status.error,
                    "rejected": list(status.rejected),
                }
                for status in self.types
            ],
        }


@dataclass(slots=True)
class Node:
    """One Envoy as the fleet keeps it: its open streams, and what its ended ones left behind."""

    id: str
    group: str
    version: str
    connected_at: datetime
    last_message_at: datetime
    variant: ServedVariant = field(default_factory=ServedVariant)
    """Which variant it gets; kept as long as the node is remembered."""
    unsettled: dict[str, Unsettled] = field(default_factory=dict)
    """What its ended streams left open, by type; see `Session.take_over`."""
    sessions: list[Session] = field(default_factory=list)
    """The sessions of its open streams."""
    left_at: datetime | None = None
    """When its last stream ended; None while it has one."""
    peer: str = ""
    """The address of the connection by which its newest stream came."""
    is_elsewhere: bool = False
    """Whether another server has it, so that it is not missed here."""
    last_status: NodeStatus | None = None
    """The status at the end of its last stream."""

    def status(self) -> NodeStatus:
        """Return the node's status as of now."""
        if not self.sessions and self.last_status is not None:
            return replace(self.last_status, connected=False, state=SyncState.DISCONNECTED)
        types = tuple(status for session in self.sessions for status in session.statuses())
        states = {status.state for status in types}
        return NodeStatus(
            self.id,
            self.group,
            self.version,
            bool(self.sessions),
            self.connected_at,
            self.last_message_at,
            min((session.acked_revision for session in self.sessions), default=0),
            next((one for one in _WORST_FIRST if one in states), SyncState.NOT_SENT),
            types,
            self.variant.name,
            self.variant.refused,
        )
