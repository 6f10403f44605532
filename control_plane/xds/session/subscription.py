"""One type's subscription of one client: what it wants, what it runs, and what is on its way.

What was sent is not what runs (docs/adr/0042), so a name is in one of these states:

| state | where it stands | what the client runs under the name |
| --- | --- | --- |
| certain | only in ``returned``, or nowhere | the version there; nothing |
| outstanding | also in ``outstanding`` | the version in ``returned``, or the one that was sent |
| uncertain | also in ``uncertain`` | either of those: the response was refused |
| refused | also in ``refused`` | the version in ``returned``; not the refused one |

`answers` says how an ACK or a NACK takes a name from one state to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from control_plane.xds.resource import Resource
from control_plane.xds.session.client_versions import ClientVersions
from control_plane.xds.session.refusal import Refusal
from control_plane.xds.session.response import Response

WILDCARD = "*"
"""The name that subscribes to everything."""
ANY = "*"
"""Stands for a version that may be one of several."""


@dataclass(slots=True)
class Subscription:
    """What a client wants of a type, and what is known of what it runs."""

    wildcard: bool = False
    """Whether the client subscribes to everything."""
    names: frozenset[str] = frozenset()
    """The names that the client subscribes to."""
    allows_legacy_wildcard: bool = True
    """Whether the client has named nothing yet, so that an empty list means everything (SotW)."""

    returned: ClientVersions = field(default_factory=ClientVersions)
    """Versions by name that were returned to the client and that it runs: it has acknowledged them,
    or named them when it connected."""
    uncertain: dict[str, str] = field(default_factory=dict)
    """By name, the version that the client may run instead; `ANY` if that may be several."""
    refused: dict[str, Refusal] = field(default_factory=dict)
    trials: tuple[frozenset[str], ...] = ()
    """Groups of names in which uncertain resources are sent next; see `trials`."""
    accepted: dict[str, Resource] = field(default_factory=dict)
    """By name, the resource that the client acknowledged last, where it may be needed again."""
    false_acks: dict[str, str] = field(default_factory=dict)
    """By name, a version whose ACK would be false; see `FALSE_ACK_TYPES`. `ANY`: perhaps some."""
    error: str = ""
    """The client's text with its newest NACK; empty once nothing is in doubt."""

    pending: set[str] = field(default_factory=set)
    """Names that may have to be sent."""
    resend: set[str] = field(default_factory=set)
    """Names to be sent even if the client has them."""
    removed: set[str] = field(default_factory=set)
    """Names that the client is to be told are removed, or do not exist."""
    reply_owed: bool = False
    """Whether the client waits for a response even if there is nothing to send."""

    outstanding: Response | None = None
    """The response that the client has not answered yet."""
    last_nonce: str = ""
    sent_version: str = ""
    acked_version: str = ""

    def wants(self, name: str) -> bool:
        """Return whether the client subscribes to this name."""
        return self.wildcard or name in self.names

    @property
    def in_doubt(self) -> bool:
        """Whether the client runs something that is not known, or not what it should run."""
        return bool(self.uncertain or self.trials or self.refused)

    @property
    def _has_exceptions(self) -> bool:
        """Whether any name is other than certain or outstanding."""
        return bool(self.uncertain or self.refused or self.false_acks)

    @property
    def unsent(self) -> bool:
        """Whether something may have to be sent that waits for other types."""
        return bool(self.pending or self.resend or self.removed or self.reply_owed)

    def sent_names(self) -> set[str]:
        """Return the names that the client was ever sent and not told to remove."""
        return {*self.returned, *self.refused, *self.uncertain}

    def forget(self, names: Iterable[str]) -> None:
        """Drop names that the client has unsubscribed from, which makes the client drop them."""
        for name in names:
            self.returned.pop(name, None)
            self.refused.pop(name, None)
            self.removed.discard(name)
            self.uncertain.pop(name, None)
        self._clear_error()

    def mark_uncertain(self, versions: Mapping[str, str]) -> None:
        """Record versions that the client may run or not; an empty one: it may run nothing."""
        for name, version in versions.items():
            possible = self.uncertain.get(name, version)
            self.uncertain[name] = version if possible == version else ANY

    def mark_certain(self, versions: Mapping[str, str]) -> None:
        """Record that the client runs versions by name; an empty one: that it runs none."""
        if self._has_exceptions:
            for name, version in versions.items():
                if self.false_acks.get(name) != version:
                    self.false_acks.pop(name, None)
                self.uncertain.pop(name, None)
                refusal = self.refused.get(name)
                if refusal is not None and refusal.version == version:
                    del self.refused[name]
        self._clear_error()

    def mark_acknowledged(self, response: Response) -> None:
        """Make all names of an acknowledged response certain."""
        if self._has_exceptions:
            versions = response.versions()
            self.mark_certain({name: versions.get(name, "") for name in response.names()})
        else:
            self._clear_error()

    def mark_refused(
        self, name: str, version: str, error: str, now: float, *, retry: bool = True
    ) -> None:
        """Record that the client has refused a version when no other name was in doubt.

        Args:
            name: The name of the resource.
            version: The version that was refused; empty for a removal.
            error: The client's error text.
            now: The time in seconds of the session's clock.
            retry: Whether to send this version again later.
        """
        previous = self.refused.get(name)
        self.refused[name] = Refusal.after(previous, version, error, now, retry=retry)
        if self.uncertain.get(name) == version:
            # The client could run only this version or the one before: so it is the one before.
            del self.uncertain[name]

    def clear_refusal(self, name: str) -> None:
        """Forget that a version was refused, because another one is published now."""
        self.refused.pop(name, None)
        self._clear_error()

    def proof_of(self, resource: Resource) -> Resource:
        """Return what to send so that the answer tells whether the client runs a resource.

        That is the resource itself, unless its ACK might be false. Then it is what the client ran
        before, and the resource is sent as the next trial.
        """
        before = self.accepted.get(resource.name)
        if (
            self.false_acks.get(resource.name) not in {ANY, resource.version}
            or before is None
            or before.version == resource.version
        ):
            return resource
        self.trials = (frozenset({resource.name}), *self.trials)
        return before

    def retry_due(self, now: float) -> frozenset[str]:
        """Return the refused name that has been due for the longest; empty if none is due."""
        due = [(one.retry_at, name) for name, one in self.refused.items() if one.retry_at <= now]
        return frozenset({min(due)[1]}) if due else frozenset()

    def _clear_error(self) -> None:
        if not self.in_doubt:
            self.error = ""
