"""The incremental ("delta") variant of a session."""

from __future__ import annotations

from typing import Any

from control_plane.xds.resource import length_delimited
from control_plane.xds.server.delta_request import as_light, named_versions
from control_plane.xds.session.client_versions import Held
from control_plane.xds.session.session import Session, legacy_wildcard
from control_plane.xds.session.subscription import Response, Subscription
from control_plane.xds.shrink import GUARDED


class DeltaSession(Session):
    """Delta xDS: only differences travel; a reconnecting client says what it has."""

    def on_request(self, request: Any) -> list[Response]:
        """Handle a DeltaDiscoveryRequest: a subscription change, an ACK or NACK, or both."""
        type_url = request.type_url
        subscription = self._subscription(type_url)
        if subscription is None:
            return []
        first = type_url not in self._subscribed
        subscribe = set(request.resource_names_subscribe)
        unsubscribe = set(request.resource_names_unsubscribe)
        if first:
            self._begin(type_url)
            self._resume(type_url, subscription, request, subscribe)
        elif request.response_nonce:
            error = request.error_detail.message if request.HasField("error_detail") else None
            self._answered(type_url, subscription, request.response_nonce, error)
        # Subscription changes count even if the nonce is stale: they are not repeated.
        self._subscribe(type_url, subscription, subscribe, again=not first)
        self._unsubscribe(type_url, subscription, unsubscribe)
        if first:
            self._distrust(type_url, subscription)
        return self.pump()

    def _resume(
        self, type_url: str, subscription: Subscription, request: Any, subscribe: set[str]
    ) -> None:
        """Take what a client says with its first request of a type: what it has already."""
        forgot = _forgets_wildcard(request.node) and bool(request.initial_resource_versions)
        if request.initial_resource_versions:
            self._share()
            whole = self._snapshot.whole(type_url)
            versions = named_versions(as_light(request), whole.entries, whole.versions)
            subscription.has = Held.of(versions, whole.versions)
            subscription.pending |= versions.keys()
            self._returning = True
        if legacy_wildcard(type_url) and (not subscribe or forgot):
            self._make_wildcard(type_url, subscription)
        if request.initial_resource_versions and type_url in GUARDED:
            self._guard_shrink()

    def _make_wildcard(self, type_url: str, subscription: Subscription) -> None:
        subscription.wildcard = True
        subscription.pending |= self._snapshot.whole(type_url).names
        # A wildcard that gives nothing is answered, too, so that a booting client goes on.
        subscription.owed = not subscription.has

    def _subscribe(
        self, type_url: str, subscription: Subscription, names: set[str], *, again: bool
    ) -> None:
        if "*" in names:
            self._make_wildcard(type_url, subscription)
        named = names - {"*"}
        if not named:
            return
        if again:
            # The client has dropped what it may have had under a name that it subscribes to.
            subscription.resend |= named
        subscription.pending |= named
        self._name(type_url, subscription, subscription.names | named)

    def _unsubscribe(self, type_url: str, subscription: Subscription, names: set[str]) -> None:
        if "*" in names:
            subscription.wildcard = False
            subscription.forget(subscription.told_of() - subscription.names)
        names = names - {"*"}
        if names & subscription.names:
            self._name(type_url, subscription, subscription.names - names)
        if subscription.wildcard:
            # The client dropped them and must be told again what the wildcard gives: the resource,
            # or that there is none.
            subscription.resend |= names
        else:
            subscription.forget(names)

    def _update(self, type_url: str, subscription: Subscription) -> Response | None:
        offered = self._due(type_url, subscription)
        if not offered and not subscription.owed:
            return None
        # tuple() of a tuple is that tuple, so that all sessions share it.
        response = Response(type_url, self._next_nonce(), self._version(), tuple(offered))
        return self._send(type_url, subscription, response, offered)

    def _remove(self, type_url: str, subscription: Subscription) -> Response | None:
        if not subscription.removed:
            return None
        removed = tuple(sorted(subscription.removed))
        subscription.removed = set()
        response = Response(type_url, self._next_nonce(), self._version(), (), removed)
        return self._send(type_url, subscription, response, ())

    def _version(self) -> str:
        return str(self._snapshot.revision)


def _forgets_wildcard(node: Any) -> bool:
    """Return whether this Envoy names what its wildcard gave when it reconnects, as if it meant it.

    So do those before 1.19 (github.com/envoyproxy/envoy, issue 16063).
    """
    version = node.user_agent_build_version.version
    return node.user_agent_name == "envoy" and (0, 0) < (
        version.major_number,
        version.minor_number,
    ) < (1, 19)


def delta_bytes(response: Response) -> bytes:
    """Return a serialised DeltaDiscoveryResponse, spliced from resources that are bytes already."""
    return b"".join(
        (
            length_delimited(1, response.version.encode()),
            *(resource.delta_field for resource in response.resources),
            length_delimited(4, response.type_url.encode()),
            length_delimited(5, response.nonce.encode()),
            *(length_delimited(6, name.encode()) for name in response.removed),
        )
    )
