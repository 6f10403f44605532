"""A session that speaks state of the world.

A response holds every resource of its type that the client subscribes to. Of clusters and listeners
(full-state types) absence means removal, even if the client refuses the response. So each response
repeats what the client runs: in its last accepted version what was refused, what is uncertain and
not on trial, and what is to be removed but may still be referred to.

Example: the client runs a1 and b1; revision 2 has a2 (bad) and c, and no b.

    → {a2, b1, c}  ← NACK naming a    a2 is refused; b1 and c run
    → {a1, c}      ← ACK              once nothing refers to b
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from control_plane.names import RTDS
from control_plane.xds.protobuf_wire import length_delimited
from control_plane.xds.resource import Resource
from control_plane.xds.resource_types import FALSE_ACK_TYPES, FULL_STATE_TYPES
from control_plane.xds.session import answers
from control_plane.xds.session.client_versions import ClientVersions
from control_plane.xds.session.ledger import Arrival
from control_plane.xds.session.response import Response
from control_plane.xds.session.session import Session
from control_plane.xds.session.subscription import ANY, WILDCARD, Subscription
from control_plane.xds.session.unsettled import Unsettled
from control_plane.xds.shrink import GUARDED, counted
from control_plane.xds.snapshot import Resources


class SotwSession(Session):
    """State of the world: a response holds every subscribed resource of its type."""

    keeps_accepted = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take the same arguments as `Session`."""
        super().__init__(*args, **kwargs)
        self._non_empty: set[str] = set()
        """Guarded types of which the client said that it has something when it came."""
        self._undisclosed: set[str] = set()
        """Full-state types of which the client runs something, and has not said what."""
        self._named: dict[str, str] = {}
        """By type, the version that the client named when it came."""

    def on_request(self, request: Any) -> list[Response]:
        """Handle a DiscoveryRequest: the first of its type, changed names, an ACK or a NACK."""
        type_url = request.type_url
        subscription = self._subscription(type_url)
        if subscription is None:
            return []
        first = type_url not in self._subscribed
        if not first and _is_stale(subscription, request.response_nonce):
            return []
        if first:
            self._subscribed.add(type_url)
            if request.version_info:
                self._arrival = Arrival.RETURNING
        elif request.response_nonce:
            error = request.error_detail.message if request.HasField("error_detail") else None
            self._record_answer(subscription, request.response_nonce, error)
        self._subscribe(type_url, subscription, set(request.resource_names))
        if first:
            if request.version_info:
                self._named[type_url] = request.version_info
                self._resume(type_url, subscription, request.version_info)
            self._take_over_type(type_url, subscription)
        return self.pump()

    def confirmed(self) -> list[Response]:
        """Compare again with what the client named: now there is the snapshot that it may have.

        When it came, there may have been an older one, or its variant was not made yet.
        """
        for type_url, version in self._named.items():
            subscription = self._types[type_url]
            if not subscription.last_nonce:
                self._resume(type_url, subscription, version)
        return super().confirmed()

    def unsettled(self) -> Mapping[str, Unsettled]:
        """Return also all names of undisclosed types.

        The version that the client names when it comes again is that of a response which it
        accepted before the ones that it refused.
        """
        unsettled = dict(super().unsettled())
        for type_url in self._undisclosed:
            names = self._types[type_url].sent_names()
            if names:
                unsettled[type_url] = Unsettled(dict.fromkeys(names, ANY))
        return unsettled

    def _subscribe(self, type_url: str, subscription: Subscription, names: set[str]) -> None:
        """Take the names of a request, which are all that the client wants from now on."""
        legacy = subscription.allows_legacy_wildcard and type_url in FULL_STATE_TYPES
        wildcard = WILDCARD in names or (not names and legacy)
        subscription.allows_legacy_wildcard &= not names
        names.discard(WILDCARD)
        # A new name is answered even if its resource is unchanged, and so is a new wildcard. Of
        # full-state types, so is a name that does not exist.
        new = names - subscription.names
        subscription.resend |= new
        if wildcard and not subscription.wildcard:
            subscription.pending |= self._snapshot.of_type(type_url).keys()
            subscription.reply_owed = True
        elif new and type_url in FULL_STATE_TYPES:
            subscription.reply_owed = True
        lost = subscription.sent_names() - names
        subscription.wildcard = wildcard
        self._set_names(type_url, subscription, names)
        if not wildcard:
            subscription.forget(lost)
            for name in lost:
                subscription.accepted.pop(name, None)

    def _resume(self, type_url: str, subscription: Subscription, version: str) -> None:
        """Take the version that a returning client names: if it is ours, nothing is sent.

        It is the version of the last response that the client accepted. It says nothing if the
        client has refused one since, which `take_over` tells.
        """
        if type_url in FULL_STATE_TYPES:
            self._undisclosed.add(type_url)
        if type_url in GUARDED and version != _version(()):
            self._non_empty.add(type_url)
            self._guard_shrink()
        published = dict(self._snapshot.of_type(type_url))
        if self._unsettled.get(type_url) or not subscription.wildcard or not published:
            return
        if _version(published.values()) == version:
            self._rebase()
            subscription.returned = ClientVersions(self._snapshot.resources(type_url).versions)
            subscription.accepted = published
            self._undisclosed.discard(type_url)
            subscription.pending, subscription.reply_owed = set(), False
            subscription.acked_version = version

    # What is sent

    def _published(self, type_url: str, subscription: Subscription) -> Resources:
        """Return the resources of a type, with empty layers for runtime names that do not exist.

        A booting Envoy waits for each of its layers, and nothing else tells it that there is none.
        """
        published = super()._published(type_url, subscription)
        missing = subscription.names - published.names if type_url == RTDS else frozenset()
        if not missing:
            return published
        empty = {name: _empty_layer(name) for name in missing}
        return Resources({**published.by_name, **empty})

    def _update(self, type_url: str, subscription: Subscription) -> Response | None:
        alone = bool(subscription.trials) or type_url in FALSE_ACK_TYPES
        selected = self._next_resources(type_url, subscription)
        if not selected and not subscription.reply_owed:
            return None
        full = type_url in FULL_STATE_TYPES
        # Of other types absence means nothing, so a trial need not repeat what is certain.
        resources = {} if alone and not full else self._running(type_url, subscription)
        resources |= {resource.name: resource for resource in selected}
        everything = self._everything(type_url, selected)
        response = self._response(type_url, resources, (one.name for one in selected), everything)
        return self._record_sent(subscription, response, selected)

    def _remove(self, type_url: str, subscription: Subscription) -> Response | None:
        if not subscription.removed:
            return None
        removed, subscription.removed = subscription.removed, set()
        if type_url not in FULL_STATE_TYPES:
            # Absence means nothing for this type; what refers to the resource goes, too.
            subscription.forget(removed)
            return None
        if removed.isdisjoint(subscription.accepted) and removed.isdisjoint(subscription.uncertain):
            return None
        running = self._running(type_url, subscription)
        resources = {name: one for name, one in running.items() if name not in removed}
        response = self._response(type_url, resources, removed)
        return self._record_sent(subscription, response, ())

    def _running(self, type_url: str, subscription: Subscription) -> dict[str, Resource]:
        """Return what the client runs and shall go on running, by name.

        That includes what is to be removed later. If the client is undisclosed, it also includes
        all that is published: what the client refuses stays in each response in the version that it
        refuses, and so the client goes on with the version that it has.
        """
        running = dict(subscription.accepted)
        if type_url in self._undisclosed:
            running = {**self._snapshot.of_type(type_url), **running}
        if not subscription.wildcard:
            running = {name: one for name, one in running.items() if name in subscription.names}
        return running

    def _response(
        self,
        type_url: str,
        resources: Mapping[str, Resource],
        subjects: Iterable[str],
        everything: Resources | None = None,
    ) -> Response:
        ordered = tuple(resources[name] for name in sorted(resources))
        return Response(
            type_url,
            self._next_nonce(),
            _version(ordered),
            ordered,
            subjects=frozenset(subjects),
            everything=everything,
        )

    # Answers

    def _on_ack(self, subscription: Subscription, response: Response) -> None:
        super()._on_ack(subscription, response)
        type_url = response.type_url
        if type_url not in FULL_STATE_TYPES:
            return
        published = self._snapshot.of_type(type_url).keys()
        if type_url in self._undisclosed:
            self._undisclosed.discard(type_url)
            # What was refused meanwhile may have been another version than the wanted one.
            subscription.pending |= published
        answers.acknowledge_full_state(subscription, response, published)

    def _on_nack(self, subscription: Subscription, response: Response, error: str) -> None:
        if response.type_url in self._undisclosed:
            answers.refuse_undisclosed(subscription, response, error, self._clock())
        else:
            super()._on_nack(subscription, response, error)

    # Shrink

    def _shrinking(self) -> Mapping[str, tuple[int, int]]:
        """Count a type as 1 if the client has any, because it does not say how many."""
        return {
            type_url: (1, counted(type_url, self._snapshot.of_type(type_url)))
            for type_url in GUARDED
            if type_url in self._non_empty
        }

    def _clusters_left(self) -> int | None:
        return None


def _empty_layer(name: str) -> Resource:
    """Return an ``envoy.service.runtime.v3.Runtime`` with a name (field 1) and nothing in it."""
    return Resource.of(RTDS, name, length_delimited(1, name.encode()))


def _is_stale(subscription: Subscription, nonce: str) -> bool:
    """Return whether a request was written before the client had seen the newest response."""
    if subscription.outstanding is not None:
        return nonce != subscription.outstanding.nonce
    return nonce not in {"", subscription.last_nonce}


def _version(resources: Iterable[Resource]) -> str:
    """Return the version of a response: a hash of the names and versions that it holds."""
    digest = hashlib.blake2b(digest_size=8)
    for resource in sorted(resources, key=lambda one: one.name):
        digest.update(f"{resource.name}\0{resource.version}\0".encode())
    return digest.hexdigest()


def sotw_bytes(response: Response) -> bytes:
    """Return a serialised DiscoveryResponse, joined from resources that are bytes already."""
    return b"".join(
        (
            length_delimited(1, response.version.encode()),
            *(resource.sotw_field for resource in response.resources),
            length_delimited(4, response.type_url.encode()),
            length_delimited(5, response.nonce.encode()),
        )
    )
