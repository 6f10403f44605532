"""In which order one client is sent its types, so that nothing refers to what is not there.

The problem: a client may be sent a route to a cluster that it does not have yet, or lose a cluster
to which it still has a route. Envoy answers requests on such a route with 503. The idea is make
before break, as in Envoy's xds_protocol document:

1. Additions and changes go down `PHASES`. A phase waits for the ACKs of the one before.
2. When all of them are acknowledged, removals go up the phases in the reverse order. They also wait
   while anything that is in doubt may still refer to what is removed.
3. When nothing is left to send, refused resources are sent again, each alone, as their pauses end.

Example: revision 8 moves the routes from cluster a to cluster b. The client is sent cluster b, and
the endpoints of b as soon as it asks for them; after the ACKs of both the routes; after their ACK
the removal of a.

A client that never answers one type must still be sent the others some time. So an answer that is
overdue opens the gate (`Gate.OPEN`): the phases no longer wait for each other.

A client is up to date (`acked_revision`) when nothing is unanswered, uncertain, refused or to be
removed, and when it has asked for all types that it wants.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from enum import Enum

from control_plane.names import CDS, EDS
from control_plane.xds.resource_types import PHASES, PUSH_ORDER
from control_plane.xds.session.ledger import Ledger
from control_plane.xds.session.response import Response
from control_plane.xds.session.subscription import Subscription

SETTLE_S = 1.0
"""A client that has said nothing for so long, and owes no answer, has named all that it wants."""
_WARMING = "warming"
"""Stands among the awaited nonces for endpoints that the client has yet to ask for."""
_TypedSubscription = tuple[str, Subscription]


class Gate(Enum):
    """Whether later types wait for the answers to earlier ones."""

    SHUT = "shut"
    OPEN = "open"
    """An answer is overdue, so types no longer wait for each other until the next snapshot."""


class PushOrder(Ledger, ABC):
    """A ledger that knows what may be sent now."""

    def __init__(
        self, types: Iterable[str] = PUSH_ORDER, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(types, clock)
        self.gate = Gate.SHUT
        self.acked_revision = 0
        """The newest revision of which the client is known to run everything."""
        self._subscribed_phases: tuple[tuple[_TypedSubscription, ...], ...] = ()
        self._unwanted: set[str] = set()
        """Types that are published and that the client does not want, as far as can be told."""
        self._awaited: tuple[str, ...] = ()
        """Nonces that the client has not answered; see `_WARMING`."""
        self._awaited_since = 0.0

    @abstractmethod
    def _update(self, type_url: str, subscription: Subscription) -> Response | None:
        """Return a response with what changed, if anything did."""

    @abstractmethod
    def _remove(self, type_url: str, subscription: Subscription) -> Response | None:
        """Return a response that removes what is to be removed, if anything is."""

    def _due(self) -> list[Response]:
        """Return all responses that may be sent now."""
        responses: list[Response] = []
        done = self._updates(responses) and self._removals(responses)
        if (done or self.gate is Gate.OPEN) and not self._retry(responses) and done:
            # The retry may have found that nothing is left to try, which frees removals.
            self._removals(responses)
            self._settle()
        awaited = self._waiting_for()
        if awaited != self._awaited:
            self._awaited, self._awaited_since = awaited, self._clock()
        return responses

    def _settle(self) -> None:
        """Record that the client runs the snapshot, if that is certain."""
        unsettled = any(
            one.outstanding or one.in_doubt or one.removed for one in self._types.values()
        )
        if not unsettled and self._subscribed and self._complete():
            self.acked_revision = self._snapshot.revision
            self._rebase()

    def _waiting_for(self) -> tuple[str, ...]:
        """Return what the client has yet to answer or to ask for."""
        nonces = [s.outstanding.nonce for s in self._types.values() if s.outstanding is not None]
        if EDS in self._subscribed and self._warming(EDS, self._types[EDS]):
            nonces.append(_WARMING)
        return tuple(nonces)

    # Which types the client wants

    def _complete(self) -> bool:
        """Return whether the client has asked for all that it wants of what is published.

        A client that reconnects asks for all its types at once, and a new listener brings a request
        for its routes, but some clients never want some types. So a type that is published and not
        asked for is waited for until the client has been silent for `SETTLE_S`.
        """
        return not self._undecided()

    def _undecided(self) -> frozenset[str]:
        published = self._snapshot.types & self._types.keys()
        return published - self._subscribed - self._unwanted

    def _give_up_undecided(self) -> None:
        """Take types that the client has not asked for in time as types that it does not want."""
        undecided = self._undecided()
        if undecided and not self._awaited and self._clock() >= self._heard_at + SETTLE_S:
            self._unwanted |= undecided

    def _phases(self) -> tuple[tuple[_TypedSubscription, ...], ...]:
        """Return the types that the client has asked for, with their subscriptions, by phase."""
        if sum(map(len, self._subscribed_phases)) < len(self._subscribed):
            self._subscribed_phases = tuple(
                tuple((url, self._types[url]) for url in phase if url in self._subscribed)
                for phase in PHASES
            )
        return self._subscribed_phases

    # Additions and changes

    def _updates(self, responses: list[Response]) -> bool:
        """Send additions and changes, phase by phase.

        Returns:
            Whether all of them have been answered.
        """
        done = True
        for phase in self._phases():
            for type_url, subscription in phase:
                if subscription.outstanding is None:
                    response = self._update(type_url, subscription)
                    if response is not None:
                        responses.append(response)
            awaited = [
                url for url, s in phase if s.outstanding or s.trials or self._warming(url, s)
            ]
            done &= not awaited
            if self.gate is Gate.SHUT and any(self._holds_up(url) for url in awaited):
                return False
        return done

    def _holds_up(self, type_url: str) -> bool:
        """Return whether later phases wait for a type: endpoints without clusters hold up none."""
        return type_url != EDS or CDS in self._subscribed

    def _warming(self, type_url: str, subscription: Subscription) -> bool:
        """Return whether the client has clusters whose endpoints it has not asked for yet."""
        if type_url != EDS or CDS not in self._subscribed:
            return False
        with_endpoints = self._snapshot.resources(EDS).names
        if subscription.wildcard or with_endpoints is subscription.names:
            return False
        clusters = self._types[CDS]
        return bool(clusters.returned) and any(
            name in clusters.returned and name not in clusters.refused
            for name in with_endpoints - subscription.names
        )

    # Removals

    def _removals(self, responses: list[Response]) -> bool:
        """Send removals, from the last phase to the first.

        Returns:
            Whether all of them have been answered.
        """
        if not self._complete() and self.gate is Gate.SHUT:
            # A client that reconnects may run routes that it has not told of yet.
            self._deny_absent(responses)
            return not any(subscription.removed for subscription in self._types.values())
        if not any(subscription.removed for subscription in self._types.values()):
            return True
        referring: list[Subscription] = []
        for phase in reversed(self._phases()):
            for index, (type_url, subscription) in reversed(list(enumerate(phase))):
                # What is in doubt may still refer to what would be removed.
                above = (*referring, *(one for _, one in phase[:index]))
                if subscription.outstanding is None and not any(one.in_doubt for one in above):
                    response = self._remove(type_url, subscription)
                    if response is not None:
                        responses.append(response)
            if any(one.outstanding for _, one in phase) and self.gate is Gate.SHUT:
                return False
            referring += [one for _, one in phase]
        return True

    def _deny_absent(self, responses: list[Response]) -> None:
        """Answer for names that do not exist and that the client never had."""
        for type_url, subscription in self._types.items():
            absent = {name for name in subscription.removed if name not in subscription.returned}
            if absent and subscription.outstanding is None:
                later, subscription.removed = subscription.removed - absent, absent
                response = self._remove(type_url, subscription)
                subscription.removed |= later
                if response is not None:
                    responses.append(response)

    # Refused resources

    def _retry(self, responses: list[Response]) -> bool:
        """Send one refused resource of each type again, alone, if its pause is over.

        Returns:
            Whether there are any responses now.
        """
        now = self._clock()
        for type_url, subscription in self._types.items():
            if subscription.refused and subscription.outstanding is None:
                due = subscription.retry_due(now)
                if due:
                    subscription.trials = (due,)
                    response = self._update(type_url, subscription) or self._remove(
                        type_url, subscription
                    )
                    if response is not None:
                        responses.append(response)
        return bool(responses)
