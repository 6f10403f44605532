"""The state-of-the-world variant of a session."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from control_plane.xds.held import Held
from control_plane.xds.resource import CDS, FULL_STATE_TYPES, Resource, length_delimited
from control_plane.xds.session import Session, legacy_wildcard
from control_plane.xds.type_state import Response, TypeState


class SotwSession(Session):
    """State of the world: each response holds every subscribed resource of its type.

    For clusters and listeners absence means removal, so what is to go is sent along until
    everything that refers to it is gone.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._sent: dict[str, dict[str, Resource]] = {}
        self._good: dict[str, dict[str, Resource]] = {}
        """What the client accepted last: stands in for what it refused."""
        self._has_clusters = False

    def on_request(self, request: Any) -> list[Response]:
        """Handle a DiscoveryRequest: first, changed names, ACK or NACK."""
        type_url = request.type_url
        state = self._state(type_url)
        first = type_url not in self._subscribed
        stale = not first and request.response_nonce != _last_nonce(state, request.response_nonce)
        if stale:
            return []
        self._subscribed.add(type_url)
        if first and request.version_info:
            self._returning = True
            if type_url == CDS:
                self._has_clusters = True
                self._guard_shrink()
        if request.response_nonce and not first:
            error = request.error_detail.message if request.HasField("error_detail") else None
            self._answered(type_url, state, request.response_nonce, error)
            if error is None:
                self._good[type_url] = self._sent.get(type_url, {})
            else:
                self._sent[type_url] = self._good.get(type_url, {})
        self._names(type_url, state, set(request.resource_names), first=first)
        if first and state.wildcard and request.version_info:
            self._resume(type_url, state, request.version_info)
        return self.pump()

    def _guard_shrink(self) -> None:
        """A returning client does not say which clusters it has, so only none at all is refused."""
        self.shrunk = ""
        if self.guards_shrink and self._has_clusters and not self._snapshot.of_type(CDS):
            self.shrunk = "the node has clusters and would keep none: nothing is sent to it"
        self._types[CDS].error = self.shrunk

    def _names(self, type_url: str, state: TypeState, names: set[str], *, first: bool) -> None:
        named_before = state.named_before
        state.named_before = named_before or bool(names)
        wildcard = "*" in names or (not names and not named_before and legacy_wildcard(type_url))
        names.discard("*")
        if first or wildcard != state.wildcard or names - state.names:
            # A new name is answered even if its resource is unchanged.
            state.resend |= names - state.names
            if wildcard and not state.wildcard:
                state.look_at |= self._snapshot.of_type(type_url).keys()
        for name in state.names - names:
            state.has.pop(name, None)
            state.rejected.pop(name, None)
        state.wildcard = wildcard
        self._named(type_url, state, names)

    def _resume(self, type_url: str, state: TypeState, version: str) -> None:
        """A reconnecting client names the version it runs: if it is ours, nothing is sent."""
        resources = dict(self._snapshot.of_type(type_url))
        if resources and _version(resources.values()) == version:
            self._share()
            state.has = Held(self._snapshot.whole(type_url).versions)
            state.look_at.clear()
            state.acked_version = version
            self._sent[type_url] = self._good[type_url] = resources

    def _update(self, type_url: str, state: TypeState) -> Response | None:
        due = self._due(type_url, state)
        if not due:
            return None
        resources = self._wanted(type_url, state)
        if type_url in FULL_STATE_TYPES:
            kept = self._sent.get(type_url, {})
            lingering = {name: kept[name] for name in state.gone if name in kept}
            resources = {**lingering, **resources}
        return self._respond(type_url, state, resources)

    def _remove(self, type_url: str, state: TypeState) -> Response | None:
        if not state.gone:
            return None
        gone, state.gone = state.gone, set()
        if type_url not in FULL_STATE_TYPES:
            for name in gone:
                # Absence means nothing for this type; its parent's removal ends it.
                state.has.pop(name, None)
            return None
        if not gone & self._sent.get(type_url, {}).keys():
            return None
        for name in gone:
            state.has.pop(name, None)
        return self._respond(type_url, state, self._wanted(type_url, state))

    def _wanted(self, type_url: str, state: TypeState) -> dict[str, Resource]:
        names = self._snapshot.of_type(type_url).keys() if state.wildcard else state.names
        found: dict[str, Resource] = {}
        for name in sorted(names):
            target = self._target(type_url, name, state)
            if target is not None and state.rejected.get(name) == target.version:
                target = self._good.get(type_url, {}).get(name)
            if target is not None:
                found[name] = target
        return found

    def _respond(self, type_url: str, state: TypeState, resources: dict[str, Resource]) -> Response:
        version = _version(resources.values())
        self._sent[type_url] = resources
        return self._send(type_url, state, tuple(resources.values()), (), version)


def _last_nonce(state: TypeState, given: str) -> str:
    """The nonce that counts: the outstanding one, else whatever was given."""
    return state.outstanding.nonce if state.outstanding is not None else given


def _version(resources: Iterable[Resource]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for resource in sorted(resources, key=lambda one: one.name):
        digest.update(f"{resource.name}\0{resource.version}\0".encode())
    return digest.hexdigest()


def sotw_bytes(response: Response) -> bytes:
    """A serialised DiscoveryResponse, spliced from resources that are bytes already."""
    return b"".join(
        (
            length_delimited(1, response.version.encode()),
            *(resource.sotw_field for resource in response.resources),
            length_delimited(4, response.type_url.encode()),
            length_delimited(5, response.nonce.encode()),
        )
    )
