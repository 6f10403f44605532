"""What an Envoy has acknowledged on one delta stream: a pure state machine between the two ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from control_plane.edge_agent.store import Kept, OlderRevision
from control_plane.names import CDS, LDS
from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import EMPTY, Snapshot


@dataclass(slots=True)
class _Type:
    """One type's subscription, and what is acknowledged and what is not yet."""

    has: dict[str, Resource] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    """Names asked for that do not exist."""
    unanswered: dict[str, Any] = field(default_factory=dict)
    """Responses by nonce."""


class Recording:
    """Sees every message of a stream, and knows what Envoy runs.

    Args:
        known: what was recorded before: a reconnecting Envoy only names what it has.
    """

    def __init__(self, known: Kept | None) -> None:
        self._known = known.snapshot if known is not None else EMPTY
        self._floor = self._known.revision
        self._revision = 0
        self._types: dict[str, _Type] = {}
        self._saved: Snapshot | None = None
        self.group = ""

    def on_request(self, request: Any) -> bool:
        """Note a DeltaDiscoveryRequest before it is passed on; True if it acknowledged something.

        Resources that Envoy has in a version that is not known here are named to the control
        plane without a version, so that it sends them again.
        """
        kind = self._types.get(request.type_url)
        if request.node.cluster:
            self.group = request.node.cluster
        if kind is None:
            kind = self._types[request.type_url] = _Type()
            self._first(kind, request)
        kind.asked |= set(request.resource_names_subscribe) - {"*"}
        for name in request.resource_names_unsubscribe:
            kind.asked.discard(name)
            kind.absent.discard(name)
            kind.has.pop(name, None)
        response = kind.unanswered.pop(request.response_nonce, None)
        if response is None or request.HasField("error_detail"):
            return False
        self._apply(kind, response)
        return True

    def _first(self, kind: _Type, request: Any) -> None:
        known = self._known.of_type(request.type_url)
        # Over a copy: a protobuf map that is written to while it is iterated passes over entries.
        for name, version in dict(request.initial_resource_versions).items():
            resource = known.get(name)
            if resource is not None and resource.version == version:
                kind.has[name] = resource
                self._revision = self._floor
            else:
                request.initial_resource_versions[name] = ""

    def on_response(self, response: Any) -> None:
        """Note a DeltaDiscoveryResponse before it is passed on.

        Raises:
            OlderRevision: Envoy has, or the disk keeps, something newer. Pass it on to nobody.
        """
        revision = _revision(response)
        if revision < self._floor:
            raise OlderRevision(
                f"the control plane is at revision {revision}; this edge has had {self._floor}"
            )
        self._floor = revision
        kind = self._types.get(response.type_url)
        if kind is not None:
            kind.unanswered[response.nonce] = response

    def _apply(self, kind: _Type, response: Any) -> None:
        for one in response.resources:
            if one.HasField("resource"):
                body = one.resource.value
                kind.has[one.name] = Resource(response.type_url, one.name, one.version, body)
                kind.absent.discard(one.name)
        for name in response.removed_resources:
            kind.has.pop(name, None)
            kind.absent.add(name)
        self._revision = max(self._revision, _revision(response))

    def kept(self) -> Kept | None:
        """What to keep: None while Envoy has not all that it asked for, or nothing to serve with.

        Whatever Envoy has acknowledged is whole by then: additions come before what refers to
        them, removals after (ADR 5).
        """
        for needed in (CDS, LDS):
            if needed not in self._types or not self._types[needed].has:
                return None
        for kind in self._types.values():
            if not kind.asked <= kind.has.keys() | kind.absent:
                return None
        resources = (one for kind in self._types.values() for one in kind.has.values())
        return Kept(Snapshot(self._revision, resources), self.group)


def _revision(response: Any) -> int:
    """The revision that a control plane of ours gives as the system's version."""
    text = response.system_version_info
    if not text.isdecimal():
        raise ValueError(f"system_version_info {text!r} is no revision: is that a cellway?")
    return int(text)
