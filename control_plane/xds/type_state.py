"""One type's subscription of one client: what it wants, has, has refused, and how that reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from control_plane.xds.held import Held
from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Response:
    """A response before it is bytes. ``removed`` is used by delta, ``version`` by both."""

    type_url: str
    nonce: str
    version: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...] = ()


@dataclass(slots=True)
class TypeState:
    """One type's subscription and what the client has of it."""

    wildcard: bool = False
    names: frozenset[str] = frozenset()
    named_before: bool = False
    has: Held = field(default_factory=Held)
    """Versions by name: what the client runs, or has been sent and has not refused."""
    rejected: dict[str, str] = field(default_factory=dict)
    """The version of each name that the client NACKed: not sent again until it changes."""
    error: str = ""
    look_at: set[str] = field(default_factory=set)
    """Names that may need sending."""
    resend: set[str] = field(default_factory=set)
    """Names to be sent even if the client has them."""
    gone: set[str] = field(default_factory=set)
    """Names to be told as removed."""
    outstanding: Response | None = None
    before_outstanding: Held = field(default_factory=Held)
    """What the client had when that was sent."""
    acked_version: str = ""
    sent_version: str = ""

    def sent(self) -> frozenset[str]:
        """The names that the outstanding response speaks of."""
        response = self.outstanding
        if response is None:
            return frozenset()
        return frozenset((*(one.name for one in response.resources), *response.removed))

    def wants(self, name: str) -> bool:
        """Whether the client subscribes to this name."""
        return self.wildcard or name in self.names


@dataclass(frozen=True, slots=True)
class TypeStatus:
    """One type's state for the fleet view."""

    type_url: str
    state: str
    """SYNCED, STALE (sent, no answer yet), NACKED or NOT_SENT."""
    acked_version: str
    sent_version: str
    error: str
    rejected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ResourceStatus:
    """One resource as one client has it."""

    type_url: str
    name: str
    version: str
    """What the client runs as far as we know; empty: nothing."""
    state: str
    """ACKED, NACKED, SENT (no answer yet), REQUESTED (to be sent) or MISSING (there is none)."""
    error: str
    """The client's own words; only where NACKED."""
    refused_version: str
    content: Resource | None
    """The resource of that version, if it is still the published one."""


def type_status(type_url: str, state: TypeState) -> TypeStatus:
    """How a type stands."""
    return TypeStatus(
        type_url,
        _word(state),
        state.acked_version,
        state.sent_version,
        state.error,
        tuple(sorted(state.rejected)),
    )


def resource_statuses(
    type_url: str, state: TypeState, snapshot: Snapshot
) -> Iterator[ResourceStatus]:
    """How each resource of a type stands that the client has or asked for, by name."""
    sent = state.sent()
    for name in sorted(state.has.keys() | state.names | state.rejected.keys() | sent):
        yield _resource_status(type_url, state, name, sent, snapshot)


def _resource_status(
    type_url: str, state: TypeState, name: str, sent: frozenset[str], snapshot: Snapshot
) -> ResourceStatus:
    version = state.has.get(name) or ""
    published = snapshot.of_type(type_url).get(name)
    refused = state.rejected.get(name, "")
    if refused:
        word = "NACKED"
    elif name in sent:
        word, version = "SENT", state.before_outstanding.get(name) or ""
    elif version:
        word = "ACKED"
    else:
        word = "MISSING" if published is None else "REQUESTED"
    content = published if published is not None and published.version == version else None
    error = state.error if refused else ""
    return ResourceStatus(type_url, name, version, word, error, refused, content)


def _word(state: TypeState) -> str:
    if state.rejected:
        return "NACKED"
    if state.outstanding is not None:
        return "STALE"
    return "SYNCED" if state.acked_version or state.has else "NOT_SENT"
