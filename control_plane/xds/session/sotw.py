"""The state-of-the-world variant of a session."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from control_plane.names import RTDS
from control_plane.xds.resource import (
    FULL_STATE_TYPES,
    REFUSED_STAYS_REFUSED,
    Resource,
    length_delimited,
)
from control_plane.xds.session.client_versions import Held
from control_plane.xds.session.session import Session, legacy_wildcard
from control_plane.xds.session.subscription import ANY, Doubt, Response, Subscription
from control_plane.xds.session.trials import named_in
from control_plane.xds.shrink import GUARDED, counted
from control_plane.xds.snapshot import OfType


class SotwSession(Session):
    """State of the world: a response holds every subscribed resource of its type.

    For clusters and listeners absence means removal, even if the client refuses the response. So
    what is not on offer stays in each response in the version that the client runs: what was
    refused, what is uncertain and not on trial, and what is to go but may still be referred to.
    """

    keeps_good = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._returned: set[str] = set()
        """Guarded types of which the client has something."""
        self._unknown: set[str] = set()
        """Full-state types of which the client runs something, and we do not know what."""

    def on_request(self, request: Any) -> list[Response]:
        """Handle a DiscoveryRequest: first, changed names, ACK or NACK."""
        type_url = request.type_url
        subscription = self._subscription(type_url)
        if subscription is None:
            return []
        first = type_url not in self._subscribed
        if not first and _is_stale(subscription, request.response_nonce):
            return []
        if first:
            self._begin(type_url)
            self._returning |= bool(request.version_info)
        elif request.response_nonce:
            error = request.error_detail.message if request.HasField("error_detail") else None
            self._answered(type_url, subscription, request.response_nonce, error)
        self._subscribe(type_url, subscription, set(request.resource_names))
        if first:
            if request.version_info:
                self._resume(type_url, subscription, request.version_info)
            self._distrust(type_url, subscription)
        return self.pump()

    def doubts(self) -> Mapping[str, Doubt]:
        """Return also what a client runs by parts of responses that it refused.

        The version that it names when it comes again is then that of an older response.
        """
        doubts = dict(super().doubts())
        for type_url in self._unknown:
            names = self._types[type_url].told_of()
            if names:
                doubts[type_url] = Doubt(dict.fromkeys(names, ANY))
        return doubts

    def _counts(self, type_url: str) -> tuple[int, int]:
        """A returning client only says whether it has any: by a version that is not nothing's."""
        after = counted(type_url, self._snapshot.of_type(type_url))
        return int(type_url in self._returned), after

    def _loses_some(self, type_url: str) -> bool:
        return type_url in self._returned

    def _kept_clusters(self) -> int | None:
        return None

    def _subscribe(self, type_url: str, subscription: Subscription, names: set[str]) -> None:
        """Take the names of a request, which are all that the client wants from now on."""
        named_before = subscription.named_before
        subscription.named_before = named_before or bool(names)
        wildcard = "*" in names or (not names and not named_before and legacy_wildcard(type_url))
        names.discard("*")
        # A new name is answered even if its resource is unchanged, and so is a new wildcard. Of
        # types whose responses are the whole truth, so is a name that does not exist.
        new = names - subscription.names
        subscription.resend |= new
        if wildcard and not subscription.wildcard:
            subscription.pending |= self._snapshot.of_type(type_url).keys()
            subscription.owed = True
        elif new and type_url in FULL_STATE_TYPES:
            subscription.owed = True
        lost = subscription.told_of() - names
        subscription.wildcard = wildcard
        self._name(type_url, subscription, names)
        if not wildcard:
            subscription.forget(lost)
            for name in lost:
                subscription.good.pop(name, None)

    def _resume(self, type_url: str, subscription: Subscription, version: str) -> None:
        """Take the version that a reconnecting client runs: if it is ours, nothing is sent.

        The version is that of the last response that the client accepted. It is not to be relied on
        where the client has refused one since; see `Ledger.doubt`.
        """
        if type_url in FULL_STATE_TYPES:
            self._unknown.add(type_url)
        if type_url in GUARDED and version != _version(()):
            self._returned.add(type_url)
            self._guard_shrink()
        resources = dict(self._snapshot.of_type(type_url))
        if self._doubts.get(type_url) or not subscription.wildcard or not resources:
            return
        if _version(resources.values()) == version:
            self._share()
            subscription.has = Held(self._snapshot.whole(type_url).versions)
            subscription.good = resources
            self._unknown.discard(type_url)
            subscription.pending, subscription.owed = set(), False
            subscription.acked_version = version

    def _published(self, type_url: str, subscription: Subscription) -> OfType:
        """Return the resources of a type, with empty layers for runtime names that do not exist.

        A booting Envoy waits for each of its layers, and nothing else tells it that there is none.
        """
        published = super()._published(type_url, subscription)
        missing = subscription.names - published.names if type_url == RTDS else frozenset()
        if not missing:
            return published
        empty = {name: _empty_layer(name) for name in missing}
        return OfType({**published.resources, **empty})

    def _update(self, type_url: str, subscription: Subscription) -> Response | None:
        alone = bool(subscription.trials) or type_url in REFUSED_STAYS_REFUSED
        offered = self._due(type_url, subscription)
        if not offered and not subscription.owed:
            return None
        full = type_url in FULL_STATE_TYPES
        # Elsewhere absence means nothing, so what is sent alone need not repeat what is certain.
        resources = {} if alone and not full else self._running(type_url, subscription)
        resources |= {resource.name: resource for resource in offered}
        return self._respond(type_url, subscription, resources, offered)

    def _remove(self, type_url: str, subscription: Subscription) -> Response | None:
        if not subscription.removed:
            return None
        removed, subscription.removed = subscription.removed, set()
        if type_url not in FULL_STATE_TYPES:
            # Absence means nothing for this type; its parent's removal ends it.
            subscription.forget(removed)
            return None
        if not removed & subscription.good.keys() and not removed & subscription.uncertain.keys():
            return None
        running = self._running(type_url, subscription)
        resources = {name: one for name, one in running.items() if name not in removed}
        return self._respond(type_url, subscription, resources, (), removed)

    def _running(self, type_url: str, subscription: Subscription) -> dict[str, Resource]:
        """Return what the client runs and shall go on running, by name.

        Besides what it wants that is what is to be removed later. Of a client that came with
        something, it is not known what that is until it has accepted a whole response: so what it
        refuses stays in each in the version that it refuses, and it goes on with what it has.
        """
        running = dict(subscription.good)
        if type_url in self._unknown:
            running = {**self._snapshot.of_type(type_url), **running}
        if not subscription.wildcard:
            running = {name: one for name, one in running.items() if name in subscription.names}
        return running

    def _respond(
        self,
        type_url: str,
        subscription: Subscription,
        resources: dict[str, Resource],
        offered: Iterable[Resource],
        removed: Iterable[str] = (),
    ) -> Response:
        ordered = tuple(resources[name] for name in sorted(resources))
        about = frozenset((*(one.name for one in offered), *removed))
        response = Response(type_url, self._next_nonce(), _version(ordered), ordered, about=about)
        return self._send(type_url, subscription, response, tuple(offered))

    def _accepted(
        self,
        type_url: str,
        subscription: Subscription,
        response: Response,
        everything: OfType | None,
    ) -> None:
        super()._accepted(type_url, subscription, response, everything)
        if type_url in FULL_STATE_TYPES:
            # The client runs these, whatever they were sent for, and nothing else.
            if type_url in self._unknown:
                # What was refused meanwhile may have been another version than the wanted one.
                self._unknown.discard(type_url)
                subscription.pending |= self._snapshot.of_type(type_url).keys()
            named = {one.name: one.version for one in response.resources}
            for name, version in named.items():
                if subscription.wants(name):
                    subscription.has[name] = version
            self._drop_absent(subscription, response)
            subscription.uncertain.clear()
            published = self._snapshot.of_type(type_url).keys()
            for name in subscription.refused.keys() - published:
                subscription.unrefuse(name)
            subscription.removed |= named.keys() - published
            subscription.acknowledge(named)

    def _rejected(
        self, type_url: str, subscription: Subscription, response: Response, error: str
    ) -> None:
        """Note a NACK; of a client of which we do not know what it runs, by what its text says.

        To leave out what may be bad, as a trial does, would take it away from such a client. So
        here the text decides, where it is one that names all that was refused.
        """
        if type_url not in self._unknown:
            super()._rejected(type_url, subscription, response, error)
            return
        refused = named_in(error, {one.name for one in response.resources})
        subscription.error = error
        for one in response.resources:
            if not subscription.wants(one.name):
                continue
            if refused and one.name not in refused:
                subscription.has[one.name] = one.version
                subscription.good[one.name] = one
                subscription.acknowledge({one.name: one.version})
                continue
            # It may run any older version of it, or, where the text is unclear, this one.
            subscription.distrust({one.name: ANY})
            subscription.refuse(one.name, one.version, error, self._clock())
        if refused:
            self._drop_absent(subscription, response)
            return
        for name in response.names() - {one.name for one in response.resources}:
            # A removal, of which it is not clear whether it was done.
            subscription.distrust({name: ANY})
            subscription.refuse(name, "", error, self._clock())

    @staticmethod
    def _drop_absent(subscription: Subscription, response: Response) -> None:
        """Note that the client does not run what a full-state response does not name."""
        named = {one.name for one in response.resources}
        for name in subscription.has.keys() - named:
            subscription.has.pop(name)
            subscription.good.pop(name, None)
        subscription.acknowledge(dict.fromkeys(subscription.uncertain.keys() - named, ""))


def _empty_layer(name: str) -> Resource:
    """Return an ``envoy.service.runtime.v3.Runtime`` with a name (field 1) and nothing in it."""
    return Resource.of(RTDS, name, length_delimited(1, name.encode()))


def _is_stale(subscription: Subscription, nonce: str) -> bool:
    """Return whether a request was written before the client had seen the newest response."""
    if subscription.outstanding is not None:
        return nonce != subscription.outstanding.nonce
    return nonce not in {"", subscription.last_nonce}


def _version(resources: Iterable[Resource]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for resource in sorted(resources, key=lambda one: one.name):
        digest.update(f"{resource.name}\0{resource.version}\0".encode())
    return digest.hexdigest()


def sotw_bytes(response: Response) -> bytes:
    """Return a serialised DiscoveryResponse, spliced from resources that are bytes already."""
    return b"".join(
        (
            length_delimited(1, response.version.encode()),
            *(resource.sotw_field for resource in response.resources),
            length_delimited(4, response.type_url.encode()),
            length_delimited(5, response.nonce.encode()),
        )
    )
