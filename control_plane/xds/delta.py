"""The incremental (delta) variant of a session."""

from __future__ import annotations

from typing import Any

from control_plane.xds.held import Held
from control_plane.xds.light_request import as_light, named_versions
from control_plane.xds.resource import CDS, length_delimited
from control_plane.xds.session import Session, legacy_wildcard
from control_plane.xds.type_state import Response, TypeState


class DeltaSession(Session):
    """Delta xDS: only differences travel; a reconnecting client says what it has."""

    def on_request(self, request: Any) -> list[Response]:
        """Handle a DeltaDiscoveryRequest: a subscription change, an ACK or NACK, or both."""
        type_url = request.type_url
        state = self._state(type_url)
        first = type_url not in self._subscribed
        self._subscribed.add(type_url)
        subscribe = set(request.resource_names_subscribe)
        unsubscribe = set(request.resource_names_unsubscribe)
        if first:
            self._first(type_url, state, request, subscribe)
        elif request.response_nonce:
            error = request.error_detail.message if request.HasField("error_detail") else None
            self._answered(type_url, state, request.response_nonce, error)
        # Subscription changes count even if the nonce is stale: they are not repeated.
        self._subscribe(type_url, state, subscribe)
        self._unsubscribe(type_url, state, unsubscribe)
        return self.pump()

    def _first(self, type_url: str, state: TypeState, request: Any, subscribe: set[str]) -> None:
        forgot = _forgets_wildcard(request.node) and bool(request.initial_resource_versions)
        if legacy_wildcard(type_url) and (not subscribe or forgot):
            self._make_wildcard(type_url, state)
        if request.initial_resource_versions:
            self._share()
            whole = self._snapshot.whole(type_url)
            versions = named_versions(as_light(request), whole.entries, whole.versions)
            state.has = Held.of(versions, whole.versions)
            state.look_at |= versions.keys()
            self._returning = True
            if type_url == CDS:
                self._guard_shrink()

    def _make_wildcard(self, type_url: str, state: TypeState) -> None:
        state.wildcard = True
        state.look_at |= self._snapshot.whole(type_url).names

    def _subscribe(self, type_url: str, state: TypeState, names: set[str]) -> None:
        if "*" in names:
            self._make_wildcard(type_url, state)
        named = names - {"*"}
        if not named:
            return
        # Subscribing to what one has means: send it again.
        state.resend |= named & state.names
        if state.wildcard:
            state.resend |= named & state.has.keys()
        self._named(type_url, state, state.names | named)
        state.look_at |= named

    def _unsubscribe(self, type_url: str, state: TypeState, names: set[str]) -> None:
        if "*" in names:
            state.wildcard = False
            for name in set(state.has) - state.names:
                state.has.pop(name)
        names = names - {"*"}
        if names & state.names:
            self._named(type_url, state, state.names - names)
        for name in names:
            state.gone.discard(name)
            if state.wildcard:
                # The client dropped it and must be told again what the wildcard gives: the
                # resource, or that there is none.
                state.resend.add(name)
                if self._target(type_url, name, state) is None:
                    state.gone.add(name)
            else:
                state.has.pop(name, None)
                state.rejected.pop(name, None)

    def _update(self, type_url: str, state: TypeState) -> Response | None:
        due = self._due(type_url, state)
        if not due and not self._owes_answer(state):
            return None
        return self._send(type_url, state, due, (), str(self._snapshot.revision))

    @staticmethod
    def _owes_answer(state: TypeState) -> bool:
        """A wildcard that gives nothing is answered once, so that a booting client goes on."""
        return state.wildcard and not state.has and not state.sent_version

    def _remove(self, type_url: str, state: TypeState) -> Response | None:
        if not state.gone:
            return None
        removed = tuple(sorted(state.gone))
        state.gone = set()
        return self._send(type_url, state, (), removed, str(self._snapshot.revision))


def _forgets_wildcard(node: Any) -> bool:
    """Whether this Envoy reconnects with the names that its wildcard gave, as if it named them.

    So do those before 1.19 (github.com/envoyproxy/envoy, issue 16063).
    """
    version = node.user_agent_build_version.version
    return node.user_agent_name == "envoy" and (0, 0) < (
        version.major_number,
        version.minor_number,
    ) < (1, 19)


def delta_bytes(response: Response) -> bytes:
    """A serialised DeltaDiscoveryResponse, spliced from resources that are bytes already."""
    return b"".join(
        (
            length_delimited(1, response.version.encode()),
            *(resource.delta_field for resource in response.resources),
            length_delimited(4, response.type_url.encode()),
            length_delimited(5, response.nonce.encode()),
            *(length_delimited(6, name.encode()) for name in response.removed),
        )
    )
