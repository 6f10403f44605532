"""What delta and state-of-the-world streams share: order, ACK and NACK, and what is certain.

A session is a pure state machine: requests, snapshots and the time go in, responses come out. The
rules are those of Envoy's xds_protocol document.

**Order.** Make before break: additions go down `PHASES`, each gated on the ACK of the one before,
then removals go up them.

**Certainty.** What was sent is not what runs (`ledger`, docs/adr/0042). A client is up to date only
when nothing is unanswered, nothing uncertain and nothing refused; until then nothing is removed
that what is in doubt may refer to. What was refused is sent again alone, with back-off, and
whenever something is published.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from enum import Enum

from control_plane.names import CDS, EDS
from control_plane.xds.resource import FULL_STATE_TYPES, PHASES, PUSH_ORDER
from control_plane.xds.session.ledger import Ledger, ProtocolError
from control_plane.xds.session.status import (
    ResourceStatus,
    TypeStatus,
    resource_statuses,
    type_status,
)
from control_plane.xds.session.subscription import NEVER, Response, Subscription
from control_plane.xds.shrink import GUARDED, counted, refusal
from control_plane.xds.snapshot import Snapshot

GATE_TIMEOUT_S = 10.0
SETTLE_S = 1.0
"""A client that has said nothing for so long, and owes no answer, has named all that it wants."""
_Typed = tuple[str, Subscription]


class Confirmation(Enum):
    """Whether the snapshot is known to be no older than what the client has (docs/adr/0040)."""

    GIVEN = "given"
    AWAITED = "awaited"
    LATE = "late"
    """Awaited for too long: a client that has nothing goes on without."""


class Session(Ledger, ABC):
    """One stream's state machine. Subclasses speak delta or state of the world."""

    def __init__(
        self,
        types: Iterable[str] = PUSH_ORDER,
        *,
        clock: Callable[[], float] = time.monotonic,
        gate_timeout_s: float = GATE_TIMEOUT_S,
    ) -> None:
        """Make a session that serves ``types``.

        Args:
            types: type URLs; requests for others are left unanswered.
            clock: the time in seconds, from any origin.
            gate_timeout_s: how long one type may hold back the next (a cluster that never warms, a
                lost answer).
        """
        super().__init__(types, clock)
        self._gate_timeout_s = gate_timeout_s
        self._phase_list: tuple[tuple[_Typed, ...], ...] = ()
        self._declined: set[str] = set()
        """Types that are published and that the client does not want, as far as can be told."""
        self._awaited: tuple[str, ...] = ()
        self._awaited_since = 0.0
        self.ungated = False
        """Whether an answer is overdue, so that types no longer wait for each other."""
        self._confirmation = Confirmation.GIVEN
        self.guards_shrink = True
        self.shrunk = ""
        """Why the client is sent nothing: it would lose most of what it has."""
        self.acked_revision = 0
        """The newest revision that the client is known to run, all of it."""

    # What the shell asks and tells

    def on_snapshot(self, snapshot: Snapshot) -> list[Response]:
        """Take a newer snapshot; intermediate ones that were never seen don't matter."""
        if snapshot is self._snapshot:
            return []
        for type_url, names in snapshot.changed(self._snapshot).items():
            subscription = self._types.get(type_url)
            if subscription is not None and type_url in self._subscribed:
                wanted = names if subscription.wildcard else names & subscription.names
                subscription.pending |= wanted
        self._snapshot = snapshot
        self.ungated = False
        for subscription in self._types.values():
            if subscription.refused:
                for name, refused in subscription.refused.items():
                    subscription.refused[name] = refused.sooner()
        if not self._subscribed:
            self._share()
        if self.shrunk:
            self._guard_shrink()
        return self.pump()

    def on_time(self) -> list[Response]:
        """Do what is due by now; to be called at `wake_at`."""
        if self._awaited and self._clock() >= self._awaited_since + self._gate_timeout_s:
            self.ungated = True
        self._decline()
        return self.pump()

    @property
    def wake_at(self) -> float | None:
        """When `on_time` has something to do, in the clock's seconds; None: not by itself."""
        if self.held:
            return None
        times: list[float] = []
        if self._awaited and not self.ungated:
            times.append(self._awaited_since + self._gate_timeout_s)
        elif self._complete() or self.ungated:
            times += [
                one.retry_at
                for subscription in self._types.values()
                if subscription.refused and subscription.outstanding is None
                for one in subscription.refused.values()
                if one.retry_at != NEVER
            ]
        if self._subscribed and not self._awaited and not self._complete():
            times.append(self._heard_at + SETTLE_S)
        return min(times, default=None)

    @property
    def held(self) -> bool:
        """Whether nothing may be sent: see `await_confirmation` and ``shrunk``."""
        if self.shrunk or self._confirmation is Confirmation.AWAITED:
            return True
        return self._confirmation is Confirmation.LATE and self._returning

    def await_confirmation(self) -> None:
        """Send nothing until it is known that the snapshot is not older than what the client has.

        Versions are content hashes, which tell other from same but not older from newer.
        """
        self._confirmation = Confirmation.AWAITED

    def confirmed(self) -> list[Response]:
        """Go on: the snapshot is as new as any that the client can have had before it came."""
        self._confirmation = Confirmation.GIVEN
        return self.pump()

    def confirmation_late(self) -> list[Response]:
        """Go on with a client that has nothing; one that has something goes on waiting."""
        if self._confirmation is Confirmation.AWAITED:
            self._confirmation = Confirmation.LATE
        return self.pump()

    def statuses(self) -> tuple[TypeStatus, ...]:
        """Return each subscribed type's state."""
        return tuple(
            type_status(type_url, subscription, self.shrunk if type_url in GUARDED else "")
            for type_url, subscription in self._types.items()
            if type_url in self._subscribed
        )

    def resources(self) -> Iterator[ResourceStatus]:
        """Yield each resource that the client has or asked for, by type in push order and name."""
        for type_url, subscription in self._types.items():
            if type_url in self._subscribed:
                yield from resource_statuses(type_url, subscription, self._snapshot)

    # Order

    def pump(self) -> list[Response]:
        """Return everything that may be sent now."""
        responses: list[Response] = []
        if self.held:
            return responses
        done = self._updates(responses) and self._removals(responses)
        if (done or self.ungated) and not self._retry(responses) and done:
            # A retry may have found that there is nothing left to try, and with it a removal free.
            self._removals(responses)
            self._settle()
        awaited = self._waiting_for()
        if awaited != self._awaited:
            self._awaited, self._awaited_since = awaited, self._clock()
        return responses

    def _settle(self) -> None:
        """Note that the client runs the snapshot, if that is certain."""
        unsettled = any(
            one.outstanding or one.in_doubt or one.removed for one in self._types.values()
        )
        if not unsettled and self._subscribed and self._complete():
            self.acked_revision = self._snapshot.revision
            self._share()

    def _waiting_for(self) -> tuple[str, ...]:
        """Return what is awaited of the client: nonces without an answer, endpoints to ask for."""
        nonces = [s.outstanding.nonce for s in self._types.values() if s.outstanding is not None]
        if EDS in self._subscribed and self._warming(EDS, self._types[EDS]):
            nonces.append("warming")
        return tuple(nonces)

    def _complete(self) -> bool:
        """Return whether the client has asked for all that it wants of what is published.

        A client that reconnects asks for all at once, and a new listener brings a request for its
        routes; but some clients never want some types. So a type that is published and not asked
        for is waited for until nothing has been heard of the client for a while.
        """
        return not self._undecided()

    def _undecided(self) -> frozenset[str]:
        published = self._snapshot.types & self._types.keys()
        return published - self._subscribed - self._declined

    def _decline(self) -> None:
        """Take what the client has not asked for in good time as what it does not want."""
        undecided = self._undecided()
        if undecided and not self._awaited and self._clock() >= self._heard_at + SETTLE_S:
            self._declined |= undecided

    def _phases(self) -> tuple[tuple[_Typed, ...], ...]:
        """Return the subscribed types with their subscriptions, by phase."""
        if sum(map(len, self._phase_list)) < len(self._subscribed):
            self._phase_list = tuple(
                tuple((url, self._types[url]) for url in phase if url in self._subscribed)
                for phase in PHASES
            )
        return self._phase_list

    def _updates(self, responses: list[Response]) -> bool:
        """Send additions and changes, phase by phase; True once all of them are answered."""
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
            if not self.ungated and any(self._gates(url) for url in awaited):
                return False
        return done

    def _gates(self, type_url: str) -> bool:
        """Return whether later phases wait for a type: endpoints alone hold up nothing."""
        return type_url != EDS or CDS in self._subscribed

    def _warming(self, type_url: str, subscription: Subscription) -> bool:
        """Return whether the client has clusters whose endpoints it has not asked for yet."""
        if type_url != EDS or CDS not in self._subscribed:
            return False
        with_endpoints = self._snapshot.whole(EDS).names
        if subscription.wildcard or with_endpoints is subscription.names:
            return False
        clusters = self._types[CDS]
        return bool(clusters.has) and any(
            name in clusters.has and name not in clusters.refused
            for name in with_endpoints - subscription.names
        )

    def _removals(self, responses: list[Response]) -> bool:
        """Send removals in reverse order; True once all of them are answered."""
        if not self._complete() and not self.ungated:
            # A reconnecting client runs routes that it has not told us of yet.
            self._tell_absent(responses)
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
            if any(one.outstanding for _, one in phase) and not self.ungated:
                return False
            referring += [one for _, one in phase]
        return True

    def _tell_absent(self, responses: list[Response]) -> None:
        """Answer for names that do not exist and that the client never had."""
        for type_url, subscription in self._types.items():
            absent = {name for name in subscription.removed if name not in subscription.has}
            if absent and subscription.outstanding is None:
                later, subscription.removed = subscription.removed - absent, absent
                response = self._remove(type_url, subscription)
                subscription.removed |= later
                if response is not None:
                    responses.append(response)

    def _retry(self, responses: list[Response]) -> bool:
        """Send one refused resource of each type again, alone, where its time has come."""
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

    @abstractmethod
    def _update(self, type_url: str, subscription: Subscription) -> Response | None:
        """Return the response with what changed, if anything did."""

    @abstractmethod
    def _remove(self, type_url: str, subscription: Subscription) -> Response | None:
        """Return the response that removes what is to go, if anything is."""

    def _guard_shrink(self) -> None:
        """Refuse to take most of what it serves by from a client, as an empty database would.

        The cache's own guard compares with what this process has published before; it can't when
        the process is new.
        """
        self.shrunk = ""
        asked = [url for url in GUARDED if url in self._subscribed and self._loses_some(url)]
        if self.guards_shrink and asked:
            counts = {type_url: self._counts(type_url) for type_url in asked}
            self.shrunk = refusal(counts, self._kept_clusters())

    def _loses_some(self, type_url: str) -> bool:
        """Return whether the client may have something of a type that is not published."""
        has, published = self._types[type_url].has, self._snapshot.whole(type_url)
        same = len(has) == len(published.names)
        return not same or bool(has.unlike(published.names, published.versions))

    def _counts(self, type_url: str) -> tuple[int, int]:
        """Return how many resources of a type the client has, and would have in the end."""
        offered = self._snapshot.of_type(type_url)
        return counted(type_url, self._types[type_url].has), counted(type_url, offered)

    def _kept_clusters(self) -> int | None:
        """Return how many of its clusters a client would keep; None if it does not say which."""
        if CDS not in self._types:
            return None
        has, offered = self._types[CDS].has, self._snapshot.whole(CDS)
        unlike = has.unlike(offered.names, offered.versions)
        if not unlike:
            return counted(CDS, offered.names)
        return counted(CDS, (name for name in has if name in offered.names))


def legacy_wildcard(type_url: str) -> bool:
    """Return whether an empty first request asks for everything.

    Only for listeners and clusters: for on-demand types it would return the whole world.
    """
    return type_url in FULL_STATE_TYPES


__all__ = ["GATE_TIMEOUT_S", "SETTLE_S", "ProtocolError", "Session", "legacy_wildcard"]
