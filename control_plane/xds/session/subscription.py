"""One type's subscription of one client: what it wants, runs, has refused, and is being sent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from control_plane.xds.resource import Resource
from control_plane.xds.session.client_versions import Held
from control_plane.xds.snapshot import OfType

RETRY_MIN_S = 1.0
"""A refused resource is not sent again sooner than this, whatever happens meanwhile."""
RETRY_MAX_S = 30.0
"""A refused resource is sent again at least this often: its cause may have passed."""
NEVER = math.inf
ANY = "*"
"""Stands for more versions than one."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response before it is bytes. ``removed`` is used by delta, ``version`` by both."""

    type_url: str
    nonce: str
    version: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...] = ()
    about: frozenset[str] | None = None
    """The names that it is sent for, where it repeats others; None: all of them."""

    def names(self) -> frozenset[str]:
        """Return the names that the response tells something new of."""
        if self.about is not None:
            return self.about
        return frozenset((*(one.name for one in self.resources), *self.removed))


@dataclass(frozen=True, slots=True)
class Refusal:
    """A resource that the client has refused when it was the only one in doubt."""

    version: str
    """The version that was refused; empty for a removal."""
    error: str
    """The client's own words."""
    tries: int
    tried_at: float
    retry_at: float
    """Times are those of the session's clock, in seconds."""

    def sooner(self) -> Refusal:
        """Return the same refusal, due as soon as `RETRY_MIN_S` allows: something has changed."""
        if self.retry_at == NEVER:
            return self
        return replace(self, retry_at=min(self.retry_at, self.tried_at + RETRY_MIN_S))


@dataclass(frozen=True, slots=True)
class Doubt:
    """What a stream that ended leaves open about a type; the next one begins with it."""

    versions: Mapping[str, str] = field(default_factory=dict)
    """By name, the version that may run, for all that is known; `ANY`, and empty for nothing."""
    good: Mapping[str, Resource] = field(default_factory=dict)
    remembered: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    """As in `Subscription`, where what was refused can't just be sent again."""

    def __bool__(self) -> bool:
        return bool(self.versions or self.remembered or self.good)


@dataclass(slots=True)
class Subscription:
    """What a client wants of a type, and what is known of what it runs.

    A name is *certain* (``has`` says what the client runs, or that it has nothing) or *uncertain*
    (a response with it was refused, of which it may or may not have been applied). Apart from that
    it may be *refused*: its newest version is known to be unwelcome.
    """

    wildcard: bool = False
    names: frozenset[str] = frozenset()
    named_before: bool = False
    """Whether the client has ever named something; an empty list then is no wildcard (SotW)."""
    has: Held = field(default_factory=Held)
    """Versions by name: what the client has acknowledged, or said that it has."""
    uncertain: dict[str, str] = field(default_factory=dict)
    """By name, the version that the client may run instead; `ANY` if that may be several."""
    refused: dict[str, Refusal] = field(default_factory=dict)
    trials: tuple[frozenset[str], ...] = ()
    """Uncertain names in the groups in which they are sent next, to find the unwelcome ones."""
    good: dict[str, Resource] = field(default_factory=dict)
    """What the client acknowledged last under each name, where that may have to be sent again."""
    remembered: dict[str, str] = field(default_factory=dict)
    """By name, the version that the client remembers as refused (`ANY`: perhaps some).

    Of some types a client acknowledges what it has refused when it comes again, and does not apply
    it, until something else has come in between.
    """
    error: str = ""
    """What the client said when it refused something last; empty once nothing is refused."""
    pending: set[str] = field(default_factory=set)
    """Names that may need sending."""
    resend: set[str] = field(default_factory=set)
    """Names to be sent even if the client has them."""
    removed: set[str] = field(default_factory=set)
    """Names that the client is to be told of as removed, or as not there."""
    owed: bool = False
    """Whether the client waits for an answer even if there is nothing to send."""
    outstanding: Response | None = None
    outstanding_all: OfType | None = None
    """What the outstanding response was made of, if it was everything of the type at once."""
    last_nonce: str = ""
    acked_version: str = ""
    sent_version: str = ""

    def wants(self, name: str) -> bool:
        """Return whether the client subscribes to this name."""
        return self.wildcard or name in self.names

    @property
    def in_doubt(self) -> bool:
        """Whether something that the client runs is not known, or not what it should run."""
        return bool(self.uncertain or self.trials or self.refused)

    @property
    def unsent(self) -> bool:
        """Whether there may be something to send that has to wait."""
        return bool(self.pending or self.resend or self.removed or self.owed)

    def told_of(self) -> set[str]:
        """Return the names that the client has been sent, whatever it did with them."""
        return {*self.has, *self.refused, *self.uncertain}

    def forget(self, names: Iterable[str]) -> None:
        """Drop names that the client has unsubscribed from, which makes it drop them, too."""
        for name in names:
            self.has.pop(name, None)
            self.refused.pop(name, None)
            self.removed.discard(name)
            self.uncertain.pop(name, None)
        self._clear_error()

    def distrust(self, versions: Mapping[str, str]) -> None:
        """Note that the client may or may not run these versions (empty: may lack it)."""
        for name, version in versions.items():
            known = self.uncertain.get(name, version)
            self.uncertain[name] = version if known == version else ANY

    def acknowledge(self, versions: Mapping[str, str]) -> None:
        """Note that the client runs what was sent: versions by name, empty for a removal."""
        if self.uncertain or self.refused or self.remembered:
            for name, version in versions.items():
                if self.remembered.get(name) != version:
                    self.remembered.pop(name, None)
                self.uncertain.pop(name, None)
                refusal = self.refused.get(name)
                if refusal is not None and refusal.version == version:
                    del self.refused[name]
        self._clear_error()

    def refuse(
        self, name: str, version: str, error: str, now: float, *, again: bool = True
    ) -> None:
        """Note that the client has refused a version when nothing else was in doubt.

        Args:
            name: of the resource.
            version: that was refused; empty for a removal.
            error: the client's words.
            now: in seconds.
            again: whether it is worth trying the same once more.
        """
        before = self.refused.get(name)
        tries = before.tries + 1 if before is not None and before.version == version else 1
        wait_s = min(RETRY_MIN_S * 2 ** min(tries - 1, 10), RETRY_MAX_S) if again else NEVER
        self.refused[name] = Refusal(version, error, tries, now, now + wait_s)
        if self.uncertain.get(name) == version:
            # It was either this or what it had before.
            del self.uncertain[name]

    def proof_of(self, resource: Resource) -> Resource:
        """Return what to send so that the answer tells whether the client runs a resource.

        That is the resource itself, or where the client may remember it as refused, what it ran
        before; then the resource is put on trial next.
        """
        good = self.good.get(resource.name)
        if (
            self.remembered.get(resource.name) not in {ANY, resource.version}
            or good is None
            or good.version == resource.version
        ):
            return resource
        self.trials = (frozenset({resource.name}), *self.trials)
        return good

    def unrefuse(self, name: str) -> None:
        """Forget that a version was refused: another one is published now."""
        self.refused.pop(name, None)
        self._clear_error()

    def retry_due(self, now: float) -> frozenset[str]:
        """Return one refused name that is to be sent again now; empty: there is none."""
        due = [(one.retry_at, name) for name, one in self.refused.items() if one.retry_at <= now]
        return frozenset({min(due)[1]}) if due else frozenset()

    def _clear_error(self) -> None:
        if not self.in_doubt:
            self.error = ""
