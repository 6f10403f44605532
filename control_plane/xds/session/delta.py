"""A session that speaks delta xDS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control_plane.names import CDS
from control_plane.xds.protobuf_wire import length_delimited
from control_plane.xds.resource_types import FULL_STATE_TYPES
from control_plane.xds.session.client_versions import ClientVersions
from control_plane.xds.session.delta_request import as_delta_request, initial_versions
from control_plane.xds.session.ledger import Arrival
from control_plane.xds.session.response import Response
from control_plane.xds.session.session import Session
from control_plane.xds.session.subscription import WILDCARD, Subscription
from control_plane.xds.shrink import GUARDED, counted

_NAMES_WILDCARD_BEFORE = (1, 19)
"""The first Envoy that does not name what its wildcard gave it when it reconnects."""


class DeltaSession(Session):
    """Delta xDS: only differences travel, and a client that reconnects says what it has."""

    def on_request(self, request: Any) -> list[Response]:
        """Handle a DeltaDiscoveryRequest: a change of the subscription, an ACK or NACK, or both."""
        type_url = request.type_url
        subscription = self._subscription(type_url)
        if subscription is None:
            return []
        first = type_url not in self._subscribed
        subscribe = set(request.resource_names_subscribe)
        unsubscribe = set(request.resource_names_unsubscribe)
        if first:
            self._subscribed.add(type_url)
            self._begin(type_url, subscription, request, subscribe)
        elif request.response_nonce:
            error = request.error_detail.message if request.HasField("error_detail") else None
            self._record_answer(subscription, request.response_nonce, error)
        # Subscription changes count even if the nonce is stale: they are not repeated.
        self._subscribe(type_url, subscription, subscribe, again=not first)
        self._unsubscribe(type_url, subscription, unsubscribe)
        if first:
            self._take_over_type(type_url, subscription)
        return self.pump()

    def _begin(
        self, type_url: str, subscription: Subscription, request: Any, subscribe: set[str]
    ) -> None:
        """Take from a client's first request of a type what the client has already."""
        has_some = bool(request.initial_resource_versions)
        if has_some:
            self._rebase()
            published = self._snapshot.resources(type_url)
            versions = initial_versions(as_delta_request(request), published)
            subscription.returned = ClientVersions.of(versions, published.versions)
            subscription.pending |= versions.keys()
            self._arrival = Arrival.RETURNING
        named_for_wildcard = has_some and _names_its_wildcard(request.node)
        if type_url in FULL_STATE_TYPES and (not subscribe or named_for_wildcard):
            self._make_wildcard(type_url, subscription)
        if has_some and type_url in GUARDED:
            self._guard_shrink()

    def _make_wildcard(self, type_url: str, subscription: Subscription) -> None:
        subscription.wildcard = True
        subscription.pending |= self._snapshot.resources(type_url).names
        # A wildcard that gives nothing is answered, too, so that a booting client goes on.
        subscription.reply_owed = not subscription.returned

    def _subscribe(
        self, type_url: str, subscription: Subscription, names: set[str], *, again: bool
    ) -> None:
        if WILDCARD in names:
            self._make_wildcard(type_url, subscription)
        named = names - {WILDCARD}
        if not named:
            return
        if again:
            # The client has dropped what it may have had under a name that it subscribes to.
            subscription.resend |= named
        subscription.pending |= named
        self._set_names(type_url, subscription, subscription.names | named)

    def _unsubscribe(self, type_url: str, subscription: Subscription, names: set[str]) -> None:
        if WILDCARD in names:
            subscription.wildcard = False
            subscription.forget(subscription.sent_names() - subscription.names)
        names = names - {WILDCARD}
        if names & subscription.names:
            self._set_names(type_url, subscription, subscription.names - names)
        if subscription.wildcard:
            # The client has dropped them. It must be told again what the wildcard gives: the
            # resource, or that there is none.
            subscription.resend |= names
        else:
            subscription.forget(names)

    def _update(self, type_url: str, subscription: Subscription) -> Response | None:
        selected = self._next_resources(type_url, subscription)
        if not selected and not subscription.reply_owed:
            return None
        response = Response(
            type_url,
            self._next_nonce(),
            str(self._snapshot.revision),
            # tuple() of a tuple is that tuple, so that all sessions share it.
            tuple(selected),
            everything=self._everything(type_url, selected),
        )
        return self._record_sent(subscription, response, selected)

    def _remove(self, type_url: str, subscription: Subscription) -> Response | None:
        if not subscription.removed:
            return None
        removed = tuple(sorted(subscription.removed))
        subscription.removed = set()
        version = str(self._snapshot.revision)
        response = Response(type_url, self._next_nonce(), version, (), removed)
        return self._record_sent(subscription, response, ())

    def _shrinking(self) -> Mapping[str, tuple[int, int]]:
        counts: dict[str, tuple[int, int]] = {}
        for type_url in GUARDED:
            if type_url not in self._subscribed:
                continue
            returned = self._types[type_url].returned
            published = self._snapshot.resources(type_url)
            if len(returned) != len(published.names) or returned.possibly_unlike(
                published.names, published.versions
            ):
                before, after = counted(type_url, returned), counted(type_url, published.by_name)
                counts[type_url] = before, after
        return counts

    def _clusters_left(self) -> int | None:
        if CDS not in self._types:
            return None
        returned, published = self._types[CDS].returned, self._snapshot.resources(CDS)
        if not returned.possibly_unlike(published.names, published.versions):
            return counted(CDS, published.names)
        return counted(CDS, (name for name in returned if name in published.names))


def _names_its_wildcard(node: Any) -> bool:
    """Return whether this Envoy names what its wildcard gave it, when it reconnects.

    Versions before 1.19 do (github.com/envoyproxy/envoy, issue 16063); they still mean the
    wildcard.
    """
    version = node.user_agent_build_version.version
    numbers = (version.major_number, version.minor_number)
    return node.user_agent_name == "envoy" and (0, 0) < numbers < _NAMES_WILDCARD_BEFORE


def delta_bytes(response: Response) -> bytes:
    """Return a serialised DeltaDiscoveryResponse, joined from resources that are bytes already."""
    return b"".join(
        (
            length_delimited(1, response.version.encode()),
            *(resource.delta_field for resource in response.resources),
            length_delimited(4, response.type_url.encode()),
            length_delimited(5, response.nonce.encode()),
            *(length_delimited(6, name.encode()) for name in response.removed),
        )
    )
