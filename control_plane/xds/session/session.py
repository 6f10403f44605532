"""One stream's state machine: what delta and state of the world have in common.

A session does no input or output and never waits. Requests, snapshots and the time go in; responses
come out. What is sent, and in which order, is in `order`; what the client runs is in `ledger`. This
module adds the two reasons to send a client nothing at all:

- **Confirmation** (docs/adr/0040). Versions are content hashes: they tell other from same, but not
  older from newer. A replica that lags behind would take a newer configuration back from a client
  that another replica has served. So a session sends nothing until its snapshot is known to be new
  enough. If that takes too long, a booting client is served anyway, because without a configuration
  it serves nobody; a returning one goes on with what it has.
- **Shrink** (docs/adr/0043, `shrink`). If a returning client would lose most of what it serves by,
  it is sent nothing, because the database is probably empty or an old copy.

| the client is | confirmation given | awaited | late | and it would lose most |
| --- | --- | --- | --- | --- |
| booting | sent what is due | held | sent what is due | (it has nothing to lose) |
| returning | sent what is due | held | held | held |
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum

from control_plane.xds.resource_types import PUSH_ORDER
from control_plane.xds.session.ledger import Arrival
from control_plane.xds.session.order import SETTLE_S, Gate, PushOrder
from control_plane.xds.session.refusal import NEVER
from control_plane.xds.session.response import Response
from control_plane.xds.session.status import (
    ResourceStatus,
    TypeStatus,
    resource_statuses,
    type_status,
)
from control_plane.xds.shrink import GUARDED, shrink_reason
from control_plane.xds.snapshot import Snapshot

GATE_TIMEOUT_S = 10.0


class Confirmation(Enum):
    """Whether the snapshot is known to be no older than what the client has."""

    GIVEN = "given"
    AWAITED = "awaited"
    LATE = "late"
    """It has been awaited for too long."""


class Session(PushOrder):
    """One stream's state machine. Subclasses speak delta or state of the world."""

    def __init__(
        self,
        types: Iterable[str] = PUSH_ORDER,
        *,
        clock: Callable[[], float] = time.monotonic,
        gate_timeout_s: float = GATE_TIMEOUT_S,
        guards_shrink: bool = True,
    ) -> None:
        """Make a session that serves ``types``.

        Args:
            types: Type URLs. Requests for others go unanswered.
            clock: Returns the time in seconds, from any origin.
            gate_timeout_s: How long one type may hold back the next, because a cluster never warms
                or an answer is lost.
            guards_shrink: Whether to send nothing to a client that would lose most of what it has.
        """
        super().__init__(types, clock=clock)
        self._gate_timeout_s = gate_timeout_s
        self._guards_shrink = guards_shrink
        self._confirmation = Confirmation.GIVEN
        self.shrink_reason = ""
        """Why the client is sent nothing, if it would lose most of what it has."""
        self._snapshot_at = -math.inf
        """When the snapshot came, by the session's clock."""

    # What the owner of the stream tells and asks

    def on_snapshot(self, snapshot: Snapshot) -> list[Response]:
        """Take a newer snapshot. Snapshots in between that this session never saw don't matter."""
        if snapshot is self._snapshot:
            return []
        for type_url, names in snapshot.changed(self._snapshot).items():
            subscription = self._types.get(type_url)
            if subscription is not None and type_url in self._subscribed:
                wanted = names if subscription.wildcard else names & subscription.names
                subscription.pending |= wanted
        self._snapshot = snapshot
        self._snapshot_at = self._clock()
        self.gate = Gate.SHUT
        for subscription in self._types.values():
            if subscription.refused:
                for name, refusal in subscription.refused.items():
                    subscription.refused[name] = refusal.brought_forward()
        if not self._subscribed:
            self._rebase()
        if self.shrink_reason:
            self._guard_shrink()
        return self.pump()

    def on_time(self) -> list[Response]:
        """Do what is due by now. To be called at `wake_at`."""
        if self._awaited and self._clock() >= self._awaited_since + self._gate_timeout_s:
            self.gate = Gate.OPEN
        self._give_up_undecided()
        return self.pump()

    @property
    def wake_at(self) -> float | None:
        """When `on_time` will have something to do, by the session's clock; None: never."""
        if self.held:
            return None
        times: list[float] = []
        if self._awaited and self.gate is Gate.SHUT:
            times.append(self._awaited_since + self._gate_timeout_s)
        elif self._complete() or self.gate is Gate.OPEN:
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

    def pump(self) -> list[Response]:
        """Return all responses that may be sent now."""
        return [] if self.held else self._due()

    def statuses(self) -> tuple[TypeStatus, ...]:
        """Return the state of each type that the client has asked for."""
        return tuple(
            type_status(type_url, subscription, self.shrink_reason if type_url in GUARDED else "")
            for type_url, subscription in self._types.items()
            if type_url in self._subscribed
        )

    def resources(self) -> Iterator[ResourceStatus]:
        """Yield each resource that the client has or asked for, by type in push order and name."""
        for type_url, subscription in self._types.items():
            if type_url in self._subscribed:
                yield from resource_statuses(type_url, subscription, self._snapshot)

    @property
    def revision(self) -> int:
        """The revision of the snapshot that the client is to run."""
        return self._snapshot.revision

    def refusal(self) -> str:
        """Return why the client does not take what is published now; empty if nothing is known.

        It is the client's text about a resource that it has refused since the snapshot came. One
        that it refused before is sent once more, and counts when it is refused again.
        """
        if self.shrink_reason:
            return self.shrink_reason
        for type_url, subscription in self._types.items():
            for name, refused in subscription.refused.items():
                published = self._snapshot.of_type(type_url).get(name)
                version = "" if published is None else published.version
                tried = refused.retry_at == NEVER or refused.tried_at >= self._snapshot_at
                if tried and refused.version == version:
                    return f"{name}: {refused.error}"
        return ""

    # What only the client's variant has (see `xds.variants`)

    def refused_beyond(self, plain: Snapshot) -> str:
        """Return the client's words about what it refuses of its snapshot and ``plain`` lacks.

        Returns:
            The name of the resource and the words; empty if it refuses nothing of that kind.
        """
        for type_url, subscription in self._types.items():
            for name, refused in subscription.refused.items():
                if refused.version in self._versions_beyond(plain, type_url, name):
                    return f"{name}: {refused.error}"
        return ""

    def owes_beyond(self, plain: Snapshot) -> bool:
        """Return whether the client has yet to answer what ``plain`` lacks."""
        return any(
            version in self._versions_beyond(plain, type_url, name)
            for type_url, subscription in self._types.items()
            if subscription.outstanding is not None
            for name, version in subscription.outstanding.versions().items()
        )

    def _versions_beyond(self, plain: Snapshot, type_url: str, name: str) -> tuple[str, ...]:
        """Return the version of a resource of the snapshot, unless ``plain`` has the same."""
        own = self._snapshot.of_type(type_url).get(name)
        other = plain.of_type(type_url).get(name)
        if own is None or (other is not None and other.version == own.version):
            return ()
        return (own.version,)

    # What holds a client back

    @property
    def held(self) -> bool:
        """Whether nothing may be sent; see the table of this module."""
        if self.shrink_reason or self._confirmation is Confirmation.AWAITED:
            return True
        late = self._confirmation is Confirmation.LATE
        return late and self._arrival is Arrival.RETURNING

    def await_confirmation(self) -> None:
        """Send nothing until the snapshot is known to be no older than what the client has."""
        self._confirmation = Confirmation.AWAITED

    def confirmed(self) -> list[Response]:
        """Go on: the snapshot is as new as any that the client can have had before it came."""
        self._confirmation = Confirmation.GIVEN
        return self.pump()

    def confirmation_late(self) -> list[Response]:
        """Go on with a booting client; a returning one goes on waiting."""
        if self._confirmation is Confirmation.AWAITED:
            self._confirmation = Confirmation.LATE
        return self.pump()

    def _guard_shrink(self) -> None:
        """Hold the client back if it would lose most of what it serves by.

        `SnapshotCache` compares with what this process published before, which a new process can't.
        """
        self.shrink_reason = ""
        if self._guards_shrink and (counts := self._shrinking()):
            self.shrink_reason = shrink_reason(counts, self._clusters_left())

    @abstractmethod
    def _shrinking(self) -> Mapping[str, tuple[int, int]]:
        """Return the guarded types of which the client may lose something.

        Returns:
            By type, how many resources the client has and how many it would have, by `counted`.
        """

    @abstractmethod
    def _clusters_left(self) -> int | None:
        """Return how many of its clusters the client would keep; None if it does not name them."""
