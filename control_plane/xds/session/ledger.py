"""What one client was sent, what it has said to that, and so what it is known to run.

What was sent is not what runs (docs/adr/0042). An ACK makes each name of its response certain. A
NACK makes none of them certain, unless there was just one: the client has applied some of the
response, and does not say which. So uncertain names are sent again, in groups that `trials`
chooses, until each is acknowledged or was refused alone. Example, delta:

    → {a2, b, c}      ← NACK "c: no such file"     a, b, c uncertain
    → {a2, b}         ← ACK                        a2 and b run
    → {c}             ← NACK "c: no such file"     c is refused; sent again alone, with back-off

Envoy remembers what it has refused of filter configurations and secrets: the same bytes again get
an ACK, and are not applied. Those types travel one resource at a time, so that a NACK is never
ambiguous, and what was refused is tried again only after what runs was sent in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from control_plane.names import CDS, EDS
from control_plane.xds.resource import REFUSED_STAYS_REFUSED, Resource
from control_plane.xds.session.client_versions import Held
from control_plane.xds.session.offers import due
from control_plane.xds.session.subscription import ANY, Doubt, Response, Subscription
from control_plane.xds.session.trials import split
from control_plane.xds.snapshot import EMPTY, OfType, Snapshot

MAX_ERROR = 4200
"""Characters of a client's error text that are kept; Envoy itself cuts it after some 4,100."""
MAX_UNSERVED = 1000
"""Types that are not served here and that one client may ask for; they go unanswered."""


class ProtocolError(Exception):
    """The client broke the protocol; the stream ends with INVALID_ARGUMENT."""


class Ledger:
    """The subscriptions of one stream's client, and the account of what it runs."""

    keeps_good = False
    """Whether what the client runs may have to be sent again, whatever its type."""

    def __init__(self, types: Iterable[str], clock: Callable[[], float]) -> None:
        self._types: dict[str, Subscription] = {url: Subscription() for url in types}
        self._clock = clock
        self._subscribed: set[str] = set()
        self._heard_at = 0.0
        """When the client's newest request came."""
        self._doubts: dict[str, Doubt] = {}
        self._returning = False
        """Whether the client has said that it has something already."""
        self._snapshot: Snapshot = EMPTY
        self._shared: Snapshot = EMPTY
        """The snapshot over which what the client has is kept; see `Held`."""
        self._unserved: set[str] = set()
        self._nonce = 0
        self.nacks: list[tuple[str, str]] = []
        """(type, the client's error text) since the shell last looked."""

    def doubt(self, doubts: Mapping[str, Doubt]) -> None:
        """Distrust what the client will say that it has, by type.

        An earlier stream of the same client ended while some names were uncertain: the client may
        run what it had refused as part of a response, and names the version before.
        """
        self._doubts = dict(doubts)

    def doubts(self) -> Mapping[str, Doubt]:
        """Return, for each type asked for, what is not certain about what the client runs now."""
        doubts: dict[str, Doubt] = {}
        for type_url in self._subscribed:
            subscription = self._types[type_url]
            versions = dict(subscription.uncertain)
            if (response := subscription.outstanding) is not None:
                sent = {one.name: one.version for one in response.resources}
                for name in response.names():
                    version = sent.get(name, "")
                    versions[name] = ANY if versions.get(name, version) != version else version
            doubts[type_url] = (
                Doubt(versions, subscription.good, subscription.remembered, subscription.refused)
                if type_url in REFUSED_STAYS_REFUSED
                else Doubt(versions)
            )
        return doubts

    def _subscription(self, type_url: str) -> Subscription | None:
        """Return the subscription of a type; None for a type that is not served here.

        Raises:
            ProtocolError: more than `MAX_UNSERVED` other types were asked for.
        """
        self._heard_at = self._clock()
        subscription = self._types.get(type_url)
        if subscription is None:
            self._unserved.add(type_url)
            if len(self._unserved) > MAX_UNSERVED:
                raise ProtocolError(f"{len(self._unserved)} types that are not served were named")
        return subscription

    def _begin(self, type_url: str) -> None:
        """Note that the client has asked for a type for the first time."""
        self._subscribed.add(type_url)

    def _name(self, type_url: str, subscription: Subscription, names: AbstractSet[str]) -> None:
        """Set the names that the client subscribes to; one set for all that name everything."""
        everything = self._snapshot.whole(type_url).names
        subscription.names = everything if names == everything else frozenset(names)

    def _distrust(self, type_url: str, subscription: Subscription) -> None:
        """Take what is in doubt from an earlier stream as uncertain."""
        doubt = self._doubts.pop(type_url, Doubt())
        if type_url in REFUSED_STAYS_REFUSED and not self._returning:
            # It has been started anew, so it remembers nothing. (Who asks for filters has accepted
            # clusters or listeners before, which it names when it only comes back.)
            return
        wants = subscription.wants
        # A client that names the very version has accepted it.
        doubtful = {
            name: version
            for name, version in doubt.versions.items()
            if wants(name) and (subscription.has.get(name) or "") != version
        }
        subscription.distrust(doubtful)
        subscription.pending |= doubtful.keys()
        subscription.refused |= {name: one for name, one in doubt.refused.items() if wants(name)}
        if type_url in REFUSED_STAYS_REFUSED:
            self._remember(subscription, doubt, self._snapshot.of_type(type_url))

    @staticmethod
    def _remember(
        subscription: Subscription, doubt: Doubt, published: Mapping[str, Resource]
    ) -> None:
        """Take over what is known of a client that acknowledges what it has refused before."""
        subscription.good |= doubt.good
        subscription.good |= {
            name: published[name]
            for name, version in subscription.has.items()
            if name in published and published[name].version == version
        }
        subscription.remembered = dict.fromkeys(doubt.versions, ANY) | dict(doubt.remembered)

    def _due(self, type_url: str, subscription: Subscription) -> Sequence[Resource]:
        """Return what the client is to be sent now of a type."""
        one_by_one = type_url in REFUSED_STAYS_REFUSED
        return due(subscription, self._published(type_url, subscription), one_by_one=one_by_one)

    def _published(self, type_url: str, subscription: Subscription) -> OfType:
        """Return the resources of a type as this client is to see them."""
        del subscription
        return self._snapshot.whole(type_url)

    def _send(
        self,
        type_url: str,
        subscription: Subscription,
        response: Response,
        offered: Sequence[Resource],
    ) -> Response:
        """Note that a response is on its way; ``offered`` is what of it the client lacks."""
        subscription.outstanding = response
        subscription.last_nonce = response.nonce
        subscription.sent_version = response.version
        subscription.owed = False
        whole = self._snapshot.whole(type_url)
        subscription.outstanding_all = whole if offered is whole.ordered else None
        endpoints = self._types.get(EDS)
        if type_url == CDS and endpoints is not None:
            # A changed cluster warms until its endpoints come again, changed or not.
            endpoints.resend |= _changed(subscription, offered) & endpoints.names
        return response

    def _next_nonce(self) -> str:
        self._nonce += 1
        return str(self._nonce)

    def _answered(
        self, type_url: str, subscription: Subscription, nonce: str, error: str | None
    ) -> None:
        """Note an ACK or NACK (error text given) of the outstanding response."""
        response = subscription.outstanding
        if response is None or nonce != response.nonce:
            return
        everything = subscription.outstanding_all
        subscription.outstanding = subscription.outstanding_all = None
        if error is None:
            subscription.acked_version = response.version
            self._accepted(type_url, subscription, response, everything)
        else:
            words = _one_line(error)
            self.nacks.append((type_url, words))
            self._rejected(type_url, subscription, response, words)

    def _accepted(
        self,
        type_url: str,
        subscription: Subscription,
        response: Response,
        everything: OfType | None,
    ) -> None:
        """Note that the client runs what the response said."""
        if everything is not None:
            self._share()
            current = self._snapshot.whole(type_url).versions
            subscription.has = Held.of(everything.versions, current)
            if not subscription.wildcard:
                for name in everything.names - subscription.names:
                    subscription.has.pop(name, None)
        else:
            for resource in response.resources:
                if subscription.wants(resource.name):
                    subscription.has[resource.name] = resource.version
        for name in response.removed:
            subscription.has.pop(name, None)
        if self.keeps_good or type_url in REFUSED_STAYS_REFUSED:
            subscription.good |= {
                one.name: one for one in response.resources if subscription.wants(one.name)
            }
            for name in response.removed:
                subscription.good.pop(name, None)
        versions = {one.name: one.version for one in response.resources}
        subscription.acknowledge({name: versions.get(name, "") for name in response.names()})

    def _rejected(
        self, type_url: str, subscription: Subscription, response: Response, error: str
    ) -> None:
        """Note that the client runs we do not know what of the response."""
        subscription.error = error
        versions = {one.name: one.version for one in response.resources}
        doubtful = _doubtful(subscription, response.names(), versions)
        for name in doubtful - versions.keys():
            # A removal. Nothing else tells apart what of it was done, so it is done again later.
            subscription.distrust({name: ANY})
            subscription.refuse(name, "", error, self._clock())
        sent = doubtful & versions.keys()
        if len(sent) == 1:
            (name,) = sent
            again = self._may_try_again(type_url, subscription, name, versions[name])
            subscription.refuse(name, versions[name], error, self._clock(), again=again)
        elif sent:
            subscription.distrust({name: versions[name] for name in sent})
            subscription.trials = (*split(sent, error), *subscription.trials)

    @staticmethod
    def _may_try_again(type_url: str, subscription: Subscription, name: str, version: str) -> bool:
        """Return whether it is worth sending a version again that was refused alone.

        Not where the client would acknowledge it without applying it, and nothing good is there
        to be sent in between.
        """
        if type_url not in REFUSED_STAYS_REFUSED:
            return True
        subscription.trials = tuple(group for group in subscription.trials if group != {name})
        subscription.remembered[name] = version
        good = subscription.good.get(name)
        return good is not None and good.version != version

    def _share(self) -> None:
        """Keep what the client has as differences from the newest snapshot."""
        if self._shared is self._snapshot:
            return
        changes = self._snapshot.changed(self._shared)
        for type_url in self._subscribed:
            versions = self._snapshot.whole(type_url).versions
            self._types[type_url].has.rebase(versions, changes.get(type_url, ()))
        self._shared = self._snapshot


def _one_line(error: str) -> str:
    """Return a client's error text as it may be kept, logged and shown on a terminal."""
    cut = error if len(error) <= MAX_ERROR else error[:MAX_ERROR] + "…"
    words = "".join(one if one.isprintable() else " " for one in cut).strip()
    return words or "refused without a word"


def _doubtful(
    subscription: Subscription, names: AbstractSet[str], versions: Mapping[str, str]
) -> set[str]:
    """Return which of a refused response's names the client may run in another version now.

    If none could have changed, something in it was refused that the client runs: any of them.
    """
    changed = {
        name
        for name in names
        if subscription.has.get(name) != versions.get(name) or name in subscription.uncertain
    }
    return {name for name in changed or names if subscription.wants(name)}


def _changed(subscription: Subscription, offered: Iterable[Resource]) -> set[str]:
    return {
        one.name
        for one in offered
        if subscription.has.get(one.name) != one.version or one.name in subscription.uncertain
    }
