"""How a subscription reads: for the fleet's view and for CSDS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from control_plane.xds.resource import Resource
from control_plane.xds.session.subscription import Subscription
from control_plane.xds.snapshot import Snapshot

MAX_ERRORS = 10
"""Texts that are shown of a type; the names of what was refused are shown anyway."""


class SyncState(StrEnum):
    """How what a client runs compares with what is published."""

    SYNCED = "SYNCED"
    STALE = "STALE"
    """Something is to be sent, not answered or not certain since a NACK, or is held back."""
    NACKED = "NACKED"
    """The client has refused something, and runs an older version of it, or none."""
    NOT_SENT = "NOT_SENT"
    DISCONNECTED = "DISCONNECTED"


class ResourceState(StrEnum):
    """How one resource stands with one client."""

    ACKED = "ACKED"
    BEHIND = "BEHIND"
    """Acknowledged, and not what is published by now."""
    NACKED = "NACKED"
    SENT = "SENT"
    """Sent, with no answer yet, or not certain since a NACK."""
    REQUESTED = "REQUESTED"
    MISSING = "MISSING"
    """Asked for, and there is none."""


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
    """What the client runs as far as is known; empty: nothing."""
    state: ResourceState
    error: str
    """The client's own words; only where NACKED."""
    refused_version: str
    content: Resource | None
    """The resource of that version, if it is still the published one."""


def type_status(type_url: str, subscription: Subscription, held_back: str) -> TypeStatus:
    """Return how a type stands; ``held_back`` says why the client is sent nothing, if so."""
    return TypeStatus(
        type_url,
        _sync_state(subscription, held_back),
        subscription.acked_version,
        subscription.sent_version,
        held_back or _error(subscription),
        tuple(sorted(subscription.refused)),
    )


def _error(subscription: Subscription) -> str:
    """Return the client's words about all that it refuses at present."""
    words = list(dict.fromkeys(refusal.error for refusal in subscription.refused.values()))
    if len(words) > MAX_ERRORS:
        words[MAX_ERRORS:] = [f"and {len(words) - MAX_ERRORS} more"]
    if words or not subscription.in_doubt:
        return "; ".join(words)
    return subscription.error


def _sync_state(subscription: Subscription, held_back: str) -> SyncState:
    if subscription.refused:
        return SyncState.NACKED
    if held_back or subscription.outstanding is not None or subscription.in_doubt:
        return SyncState.STALE
    if not subscription.acked_version and not subscription.has:
        return SyncState.NOT_SENT
    return SyncState.STALE if subscription.unsent else SyncState.SYNCED


def resource_statuses(
    type_url: str, subscription: Subscription, snapshot: Snapshot
) -> Iterator[ResourceStatus]:
    """Yield how each resource of a type stands that the client has or asked for, by name."""
    response = subscription.outstanding
    sent = response.names() if response is not None else frozenset()
    sent |= subscription.uncertain.keys()
    has = subscription.has.keys()
    for name in sorted(has | subscription.names | subscription.refused.keys() | sent):
        yield _resource_status(type_url, subscription, name, name in sent, snapshot)


def _resource_status(
    type_url: str, subscription: Subscription, name: str, sent: bool, snapshot: Snapshot
) -> ResourceStatus:
    version = subscription.has.get(name) or ""
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
