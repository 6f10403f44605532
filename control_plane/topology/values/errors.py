"""What can go wrong with a read or write of the topology, in words that can be acted upon."""

from __future__ import annotations

from dataclasses import dataclass


class TopologyError(Exception):
    """Base of everything that the topology refuses."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an input: which field, what, and how to mend it."""

    field: str
    message: str
    mend: str


class Invalid(TopologyError):
    """The input can't be accepted; ``problems`` says where and how to mend it."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(f"{p.field}: {p.message} ({p.mend})" for p in problems))
        self.problems = problems


class NotFound(TopologyError):
    """There is no such thing."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"there is no {kind} {key!r}")
        self.kind = kind
        self.key = key


class AlreadyExists(TopologyError):
    """Something with that key exists; ``taken`` lists (key, owner) of each."""

    def __init__(self, kind: str, taken: tuple[tuple[str, str], ...]) -> None:
        listed = ", ".join(f"{key} (owner: {owner})" for key, owner in taken)
        super().__init__(f"{kind} taken already: {listed}")
        self.kind = kind
        self.taken = taken


class StaleVersion(TopologyError):
    """The writer saw an older version than the current one; nothing was written."""

    def __init__(self, kind: str, key: str, expected: object, actual: object) -> None:
        super().__init__(f"{kind} {key!r} is at version {actual}, not {expected}: read it again")
        self.actual = actual


class Refused(TopologyError):
    """A guard refuses the change; ``force`` would override it."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} is refused: {why}")


class Gone(TopologyError):
    """The change feed no longer reaches back that far; start from a fresh snapshot.

    Changes up to ``oldest`` are gone.
    """

    def __init__(self, oldest: int) -> None:
        super().__init__(
            f"changes up to revision {oldest} are no longer kept: start anew: note the current"
            " revision (GET /v1/topology), read what you follow, and go on since that revision"
        )
        self.oldest = oldest


class Locked(TopologyError):
    """Another lease holds claims of the batch; try later. ``held`` lists (key, lease) of each."""

    def __init__(self, held: tuple[tuple[str, str], ...]) -> None:
        listed = ", ".join(f"{key} (lease: {lease})" for key, lease in held)
        super().__init__(f"held by another lease, try later: {listed}")
        self.held = held


class LeaseSettled(TopologyError):
    """The lease was settled the other way: commit after rollback, or rollback after commit."""

    def __init__(self, lease: str, outcome: str) -> None:
        super().__init__(f"lease {lease!r} is {outcome} already and stays so")
        self.lease = lease
        self.outcome = outcome


class KeyTaken(TopologyError):
    """Another request has the idempotency key; nothing of this one was done."""

    def __init__(self, key: str) -> None:
        super().__init__(f"another request under the idempotency key {key!r} was quicker")
        self.key = key


class Contention(TopologyError):
    """Other writers were in the way at each of a bounded number of tries; nothing was written."""

    def __init__(self, tries: int) -> None:
        super().__init__(f"other writers were in the way {tries} times; try again")
        self.tries = tries


class Unavailable(TopologyError):
    """The database can't be reached, or was lost while it was asked.

    A write that was under way may have been done or not: read before writing again, or repeat it
    under its idempotency key.
    """

    def __init__(self, why: str) -> None:
        super().__init__(f"the database is unavailable: {why}")


class DatabaseFailed(TopologyError):
    """The database failed in a way that trying again at once doesn't mend, such as a full disk.

    Nothing was written. A user can't help it: the operator must look.
    """

    def __init__(self, why: str) -> None:
        super().__init__(f"the database failed: {why}")
