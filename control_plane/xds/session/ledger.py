"""The subscriptions of one stream's client, and the account of what the client runs.

A ledger knows all types of one client. It records what the client asks for, what it is sent and
what it answers; `answers` says what an answer means for one type. Nothing here decides when
something is sent: that is `order`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum

from control_plane.names import CDS, EDS
from control_plane.xds.resource import Resource
from control_plane.xds.resource_types import FALSE_ACK_TYPES
from control_plane.xds.session import answers
from control_plane.xds.session.response import Response
from control_plane.xds.session.selection import next_resources
from control_plane.xds.session.subscription import Subscription
from control_plane.xds.session.unsettled import (
    NOTHING_UNSETTLED,
    Unsettled,
    take_over,
    unsettled_of,
)
from control_plane.xds.snapshot import EMPTY, Resources, Snapshot

MAX_ERROR = 4200
"""Characters of a client's error text that are kept; Envoy itself cuts it after some 4,100."""
MAX_UNSERVED = 1000
"""Types that one client may ask for and that are not served here; they go unanswered."""


MAX_UNPUBLISHED_NAMES = 20_000
"""Names that one client may subscribe to and that are not published, of all types together."""
MAX_UNPUBLISHED_BYTES = 2 << 20
"""How long these names may be together."""


class ProtocolError(Exception):
    """The client broke the protocol; the stream ends with INVALID_ARGUMENT."""


class ClientLimitExceeded(ProtocolError):
    """The client wants more than one may; the stream ends with RESOURCE_EXHAUSTED."""


class Arrival(Enum):
    """How a client came, by its first requests."""

    BOOTING = "booting"
    """It has named nothing that it runs: it needs a configuration to serve anybody."""
    RETURNING = "returning"
    """It runs what an earlier stream sent it, and goes on with that until it is sent more."""


class Ledger:
    """What one client subscribes to, has been sent and runs."""

    keeps_accepted = False
    """Whether what the client runs may have to be sent again, whatever its type."""

    def __init__(self, types: Iterable[str], clock: Callable[[], float]) -> None:
        self._types: dict[str, Subscription] = {url: Subscription() for url in types}
        self._subscribed: set[str] = set()
        """The types that the client has asked for."""
        self._unserved: set[str] = set()
        """The types that the client has asked for and that are not served here."""
        self._unpublished: dict[str, tuple[int, int]] = {}
        """By type, how many names the client subscribes to beyond the published ones, and how long
        they are together."""
        self._clock = clock
        self._heard_at = 0.0
        """When the client's newest request came."""
        self._arrival = Arrival.BOOTING
        self._unsettled: dict[str, Unsettled] = {}
        """What earlier streams left open, for types that the client has not asked for yet."""
        self._snapshot: Snapshot = EMPTY
        self._base: Snapshot = EMPTY
        """The snapshot over which the client's versions are stored; see `ClientVersions`."""
        self._nonce = 0
        self.nacks: list[tuple[str, str]] = []
        """Type and error text of each NACK since the owner of the session last cleared this."""

    def take_over(self, unsettled: Mapping[str, Unsettled]) -> None:
        """Take by type what earlier streams of the client left open, before its first request."""
        self._unsettled = dict(unsettled)

    def unsettled(self) -> Mapping[str, Unsettled]:
        """Return, for each type asked for, what would be left open if the stream ended now."""
        return {
            type_url: unsettled_of(type_url, self._types[type_url]) for type_url in self._subscribed
        }

    # Requests

    def _subscription(self, type_url: str) -> Subscription | None:
        """Return the subscription of a type; None for a type that is not served here.

        Raises:
            ProtocolError: The client has asked for more than `MAX_UNSERVED` such types.
        """
        self._heard_at = self._clock()
        subscription = self._types.get(type_url)
        if subscription is None:
            self._unserved.add(type_url)
            if len(self._unserved) > MAX_UNSERVED:
                raise ProtocolError(
                    f"more than {MAX_UNSERVED} types that are not served were asked for"
                )
        return subscription

    def _set_names(
        self, type_url: str, subscription: Subscription, names: AbstractSet[str]
    ) -> None:
        """Set the names that the client subscribes to.

        Clients that name everything that is published share one set.

        Raises:
            ClientLimitExceeded: Too many of them are not published.
        """
        everything = self._snapshot.resources(type_url).names
        if names == everything:
            subscription.names = everything
            self._unpublished.pop(type_url, None)
        else:
            self._check_unpublished(type_url, names - everything)
            subscription.names = frozenset(names)

    def _check_unpublished(self, type_url: str, names: AbstractSet[str]) -> None:
        """Check what the client subscribes to beyond what we hold anyway.

        Names that are published are bounded by the topology, others by nothing but this.
        """
        self._unpublished[type_url] = len(names), sum(map(len, names))
        count, chars = map(sum, zip(*self._unpublished.values(), strict=True))
        if count > MAX_UNPUBLISHED_NAMES or chars > MAX_UNPUBLISHED_BYTES:
            raise ClientLimitExceeded(
                f"{count} names ({chars} characters) are subscribed to that are not published; at "
                f"most {MAX_UNPUBLISHED_NAMES} of {MAX_UNPUBLISHED_BYTES}: unsubscribe from some"
            )

    def _take_over_type(self, type_url: str, subscription: Subscription) -> None:
        """Make uncertain what earlier streams left open about a type."""
        unsettled = self._unsettled.pop(type_url, NOTHING_UNSETTLED)
        if type_url in FALSE_ACK_TYPES and self._arrival is Arrival.BOOTING:
            # A client that was started anew does not remember what it refused before. (One that
            # only comes back has named clusters or listeners by the time it asks for filters.)
            return
        take_over(type_url, subscription, unsettled, self._snapshot.of_type(type_url))

    # What is sent

    def _next_resources(self, type_url: str, subscription: Subscription) -> Sequence[Resource]:
        """Take the resources of a type that the client is to be sent next."""
        published = self._published(type_url, subscription)
        return next_resources(subscription, published, one_by_one=type_url in FALSE_ACK_TYPES)

    def _published(self, type_url: str, subscription: Subscription) -> Resources:
        """Return the resources of a type as this client is to see them."""
        del subscription
        return self._snapshot.resources(type_url)

    def _everything(self, type_url: str, selected: Sequence[Resource]) -> Resources | None:
        """Return the resources of a type if all of them were selected as one shared tuple."""
        published = self._snapshot.resources(type_url)
        # All empty tuples are one object, so an empty one proves nothing.
        return published if selected and selected is published.ordered else None

    def _record_sent(
        self, subscription: Subscription, response: Response, selected: Sequence[Resource]
    ) -> Response:
        """Record that a response is on its way.

        Args:
            subscription: Of the response's type.
            response: The response.
            selected: Those of its resources that the client lacks.

        Returns:
            The response.
        """
        subscription.outstanding = response
        subscription.last_nonce = response.nonce
        subscription.sent_version = response.version
        subscription.reply_owed = False
        endpoints = self._types.get(EDS)
        if response.type_url == CDS and endpoints is not None:
            # A changed cluster warms until its endpoints come again, changed or not.
            endpoints.resend |= _changed(subscription, selected) & endpoints.names
        return response

    def _next_nonce(self) -> str:
        self._nonce += 1
        return str(self._nonce)

    # Answers

    def _record_answer(self, subscription: Subscription, nonce: str, error: str | None) -> None:
        """Record an answer, if it is to the outstanding response.

        Args:
            subscription: Of the request's type.
            nonce: The nonce of the response that is answered.
            error: The client's text with a NACK; None: an ACK.
        """
        response = subscription.outstanding
        if response is None or nonce != response.nonce:
            return
        subscription.outstanding = None
        if error is None:
            subscription.acked_version = response.version
            self._on_ack(subscription, response)
        else:
            text = _one_line(error)
            self.nacks.append((response.type_url, text))
            self._on_nack(subscription, response, text)

    def _on_ack(self, subscription: Subscription, response: Response) -> None:
        if response.everything is not None:
            self._rebase()
        keep = self.keeps_accepted or response.type_url in FALSE_ACK_TYPES
        answers.acknowledge(subscription, response, self._snapshot, keep=keep)

    def _on_nack(self, subscription: Subscription, response: Response, error: str) -> None:
        answers.refuse(subscription, response, error, self._clock())

    def _rebase(self) -> None:
        """Store what the client has as differences from the newest snapshot."""
        if self._base is self._snapshot:
            return
        changes = self._snapshot.changed(self._base)
        for type_url in self._subscribed:
            versions = self._snapshot.resources(type_url).versions
            self._types[type_url].returned.rebase(versions, changes.get(type_url, ()))
        self._base = self._snapshot


def _one_line(error: str) -> str:
    """Return a client's error text as it may be kept, logged and shown on a terminal."""
    cut = error if len(error) <= MAX_ERROR else error[:MAX_ERROR] + "…"
    words = "".join(one if one.isprintable() else " " for one in cut).strip()
    return words or "refused without a word"


def _changed(subscription: Subscription, selected: Iterable[Resource]) -> set[str]:
    """Return the names of resources that the client may run in another version."""
    return {
        one.name
        for one in selected
        if subscription.returned.get(one.name) != one.version or one.name in subscription.uncertain
    }
