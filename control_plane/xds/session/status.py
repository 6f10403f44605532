"""The status of a subscription, as the fleet view and CSDS show it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from control_plane.xds.resource import Resource
from control_plane.xds.session.subscription import Subscription
from control_plane.xds.snapshot import Snapshot

MAX_ERRORS = 10
"""Error texts that are shown of a type. The names of all refused resources are shown anyway."""


class SyncState(StrEnum):
    """The state of a client or a node, compared with what is published."""

    SYNCED = "SYNCED"
    STALE = "STALE"
    """Something is to be sent, unanswered or uncertain since a NACK, or the client is held back."""
    NACKED = "NACKED"
    """The client has refused something, and runs an older version of it, or none."""
    NOT_SENT = "NOT_SENT"
    DISCONNECTED = "DISCONNECTED"


class ResourceState(StrEnum):
    """The state of one resource at one client."""

    ACKED = "ACKED"
    BEHIND = "BEHIND"
    """Acknowledged in another version than the one that is published now."""
    NACKED = "NACKED"
    SENT = "SENT"
    """Sent and not answered yet, or uncertain since a NACK."""
    REQUESTED = "REQUESTED"
    MISSING = "MISSING"
    """Asked for, and not published."""


@dataclass(frozen=True, slots=True)
class TypeStatus:
    """One type's state for the fleet view."""

    type_url: str
    state: SyncState
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
    """The version that the client runs, as far as is known; empty if it runs none."""
    state: ResourceState
    error: str
    """The client's error text; empty unless NACKED."""
    refused_version: str
    content: Resource | None
    """The resource in ``version``, if that is the published version."""


def type_status(type_url: str, subscription: Subscription, held_back: str) -> TypeStatus:
    """Return the status of a type.

    Args:
        type_url: The type.
        subscription: The client's subscription of it.
        held_back: Why the client is sent nothing of it; empty if it is sent what is due.
    """
    return TypeStatus(
        type_url,
        _sync_state(subscription, held_back),
        subscription.acked_version,
        subscription.sent_version,
        held_back or _error(subscription),
        tuple(sorted(subscription.refused)),
    )


def _error(subscription: Subscription) -> str:
    """Return the client's error texts about all that it refuses at present."""
    texts = list(dict.fromkeys(refusal.error for refusal in subscription.refused.values()))
    if len(texts) > MAX_ERRORS:
        texts[MAX_ERRORS:] = [f"and {len(texts) - MAX_ERRORS} more"]
    if texts or not subscription.in_doubt:
        return "; ".join(texts)
    return subscription.error


def _sync_state(subscription: Subscription, held_back: str) -> SyncState:
    if subscription.refused:
        return SyncState.NACKED
    if held_back or subscription.outstanding is not None or subscription.in_doubt:
        return SyncState.STALE
    if not subscription.acked_version and not subscription.returned:
        return SyncState.NOT_SENT
    return SyncState.STALE if subscription.unsent else SyncState.SYNCED


def resource_statuses(
    type_url: str, subscription: Subscription, snapshot: Snapshot
) -> Iterator[ResourceStatus]:
    """Yield the status of each resource of a type that the client has or asked for, by name."""
    response = subscription.outstanding
    sent = response.names() if response is not None else frozenset()
    sent |= subscription.uncertain.keys()
    returned = subscription.returned.keys()
    for name in sorted(returned | subscription.names | subscription.refused.keys() | sent):
        yield _resource_status(type_url, subscription, name, name in sent, snapshot)


def _resource_status(
    type_url: str, subscription: Subscription, name: str, sent: bool, snapshot: Snapshot
) -> ResourceStatus:
    version = subscription.returned.get(name) or ""
    published = snapshot.of_type(type_url).get(name)
    content = published if published is not None and published.version == version else None
    refusal = subscription.refused.get(name)
    if refusal is not None:
        state = ResourceState.NACKED
    elif sent:
        state = ResourceState.SENT
    elif version:
        state = ResourceState.ACKED if content is not None else ResourceState.BEHIND
    else:
        state = ResourceState.MISSING if published is None else ResourceState.REQUESTED
    error = refusal.error if refusal is not None else ""
    refused = refusal.version if refusal is not None else ""
    return ResourceStatus(type_url, name, version, state, error, refused, content)
