"""Records what an Envoy acknowledges on one delta stream: a pure state machine in between.

The agent passes each message on and shows it to a `Recording`, which thereby knows what Envoy runs
and can be written to disk. Example:

    request    clusters, names *             → subscribed
    response   {a1, b1}, nonce 1             → unanswered
    request    ACK of nonce 1                → acknowledged: a1 and b1 run
    response   {a2}, removes b, nonce 2      → unanswered: a1 and b1 still run
    request    NACK of nonce 2               → as before

It must never record something older than the disk has, because a newer revision may have taken a
cell away that an older one still names. So it refuses responses of an older revision
(`OlderRevision`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from control_plane.edge_agent.saved_snapshot import SavedSnapshot
from control_plane.edge_agent.store import OlderRevision
from control_plane.names import CDS, LDS
from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import EMPTY, Snapshot


@dataclass(slots=True)
class _Subscription:
    """One type: what Envoy wants, what it runs, and what it has not answered yet."""

    acknowledged: dict[str, Resource] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    """The names that Envoy subscribes to, without the wildcard."""
    absent: set[str] = field(default_factory=set)
    """Names that do not exist."""
    unanswered: dict[str, Any] = field(default_factory=dict)
    """Responses by nonce."""

    def complete(self) -> bool:
        """Return whether Envoy has all that it subscribes to by name."""
        return self.names <= self.acknowledged.keys() | self.absent


class Recording:
    """Follows every message of a stream, and so knows what Envoy runs."""

    def __init__(self, before: SavedSnapshot | None) -> None:
        """Begin a stream.

        Args:
            before: What was recorded before this stream. An Envoy that reconnects names only the
                versions that it has.
        """
        self._before = before.snapshot if before is not None else EMPTY
        self._floor = self._before.revision
        """The newest revision that came; older ones are refused."""
        self._revision = 0
        """The newest revision that Envoy has acknowledged."""
        self._types: dict[str, _Subscription] = {}
        self.group = ""

    def on_request(self, request: Any) -> bool:
        """Record a DeltaDiscoveryRequest before it is passed on.

        If Envoy names a version that was not recorded, the version is removed from the request, so
        that the control plane sends the resource again.

        Args:
            request: The request; changed.

        Returns:
            Whether it acknowledged something.
        """
        subscription = self._types.get(request.type_url)
        if request.node.cluster:
            self.group = request.node.cluster
        if subscription is None:
            subscription = self._types[request.type_url] = _Subscription()
            self._resume(subscription, request)
        subscription.names |= set(request.resource_names_subscribe) - {"*"}
        for name in request.resource_names_unsubscribe:
            subscription.names.discard(name)
            subscription.absent.discard(name)
            subscription.acknowledged.pop(name, None)
        response = subscription.unanswered.pop(request.response_nonce, None)
        if response is None or request.HasField("error_detail"):
            return False
        self._apply(subscription, response)
        return True

    def _resume(self, subscription: _Subscription, request: Any) -> None:
        """Take what Envoy has already, by the first request of a type."""
        recorded = self._before.of_type(request.type_url)
        # Over a copy: a protobuf map that is written to while it is iterated passes over entries.
        for name, version in dict(request.initial_resource_versions).items():
            resource = recorded.get(name)
            if resource is not None and resource.version == version:
                subscription.acknowledged[name] = resource
                self._revision = self._floor
            else:
                request.initial_resource_versions[name] = ""

    def on_response(self, response: Any) -> None:
        """Record a DeltaDiscoveryResponse before it is passed on.

        Raises:
            OlderRevision: Envoy or the disk has something newer. The response must not be passed
                on.
            ValueError: The response does not say of which revision it is.
        """
        revision = _revision(response)
        if revision < self._floor:
            raise OlderRevision(
                f"the control plane is at revision {revision}; this edge has had {self._floor}"
            )
        self._floor = revision
        subscription = self._types.get(response.type_url)
        if subscription is not None:
            subscription.unanswered[response.nonce] = response

    def _apply(self, subscription: _Subscription, response: Any) -> None:
        for one in response.resources:
            if one.HasField("resource"):
                resource = Resource(response.type_url, one.name, one.version, one.resource.value)
                subscription.acknowledged[one.name] = resource
                subscription.absent.discard(one.name)
        for name in response.removed_resources:
            subscription.acknowledged.pop(name, None)
            subscription.absent.add(name)
        self._revision = max(self._revision, _revision(response))

    def snapshot(self) -> SavedSnapshot | None:
        """Return what Envoy runs, fit to be written to disk.

        Whatever Envoy has acknowledged can serve by then, because additions come before what refers
        to them, and removals after (ADR 5).

        Returns:
            None while Envoy lacks clusters, listeners, or something that it has asked for.
        """
        for needed in (CDS, LDS):
            if needed not in self._types or not self._types[needed].acknowledged:
                return None
        if not all(subscription.complete() for subscription in self._types.values()):
            return None
        resources = (one for each in self._types.values() for one in each.acknowledged.values())
        return SavedSnapshot(Snapshot(self._revision, resources), self.group)


def _revision(response: Any) -> int:
    """Return the revision, which a control plane of ours names as the system's version."""
    text = response.system_version_info
    if not text.isdecimal():
        raise ValueError(f"system_version_info {text!r} is no revision: is that a cellway?")
    return int(text)
