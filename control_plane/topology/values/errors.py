"""The errors of the topology. Their texts reach users, and say what to do where that is known."""

from __future__ import annotations

from dataclasses import dataclass


class TopologyError(Exception):
    """The base of all errors of the topology."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input: in which field, what, and how to put it right."""

    field: str
    message: str
    hint: str


class Invalid(TopologyError):
    """The input can't be accepted. ``problems`` has all that is wrong with it."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(f"{p.field}: {p.message} ({p.hint})" for p in problems))
        self.problems = problems


class NotFound(TopologyError):
    """There is no object of this kind under this key."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"there is no {kind} {key!r}")
        self.kind = kind
        self.key = key


class AlreadyExists(TopologyError):
    """Objects with these keys exist already. ``taken`` lists key and owner of each."""

    def __init__(self, kind: str, taken: tuple[tuple[str, str], ...]) -> None:
        listed = ", ".join(f"{key} (owner: {owner})" for key, owner in taken)
        super().__init__(f"{kind} taken already: {listed}")
        self.kind = kind
        self.taken = taken


class StaleVersion(TopologyError):
    """The writer has seen an older version than the current one. Nothing was written."""

    def __init__(self, kind: str, key: str, expected: object, actual: object) -> None:
        super().__init__(f"{kind} {key!r} is at version {actual}, not {expected}: read it again")
        self.actual = actual


class Refused(TopologyError):
    """A guard refuses the change."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} is refused: {why}")


class Gone(TopologyError):
    """The change feed no longer reaches back to the revision that was asked for.

    Changes up to ``oldest`` were pruned. The reader has to start from a fresh snapshot.
    """

    def __init__(self, oldest: int, text: str | None = None) -> None:
        super().__init__(
            text
            or f"changes up to revision {oldest} are no longer kept: start anew: note the current"
            " revision (GET /v1/topology), read what you follow, and go on since that revision"
        )
        self.oldest = oldest


class PastGone(Gone):
    """What the topology was at some time can't be told: later changes are no longer kept."""

    def __init__(self, when: str, oldest: int) -> None:
        text = f"what the topology was {when} can't be told, as some later changes are not kept"
        super().__init__(oldest, f"{text}; the oldest revision that can be told is {oldest}")


class Locked(TopologyError):
    """Other leases hold some of the claims. ``held`` lists key and lease of each."""

    def __init__(self, held: tuple[tuple[str, str], ...]) -> None:
        listed = ", ".join(f"{key} (lease: {lease})" for key, lease in held)
        super().__init__(f"held by another lease, try later: {listed}")
        self.held = held


class LeaseSettled(TopologyError):
    """The lease was settled the other way before: committed after a rollback, or the reverse."""

    def __init__(self, lease: str, outcome: str) -> None:
        super().__init__(f"lease {lease!r} is {outcome} already and stays so")
        self.lease = lease
        self.outcome = outcome


class KeyTaken(TopologyError):
    """Another request has the same idempotency key. Nothing of this one was done."""

    def __init__(self, key: str) -> None:
        super().__init__(f"another request under the idempotency key {key!r} was quicker")
        self.key = key


class Contention(TopologyError):
    """Other writers were in the way at each of a limited number of tries. Nothing was written."""

    def __init__(self, tries: int) -> None:
        super().__init__(f"other writers were in the way {tries} times; try again")
        self.tries = tries


class Unavailable(TopologyError):
    """The database can't be reached, or the connection was lost.

    A write that was under way may have been done or not. The caller has to read before it writes
    again, or to repeat the write under its idempotency key.
    """

    what = "the database is unavailable"

    def __init__(self, why: str) -> None:
        super().__init__(f"{self.what}: {why}")


class ReadOnly(Unavailable):
    """The database takes no writes. It may be a standby, or have become one. Nothing was written.

    A connection that says so is given up: after a failover, a new one may lead to another server.
    """

    what = "the database takes no writes"


class DatabaseFailed(TopologyError):
    """The database refused a statement, and would refuse it again. Nothing was written.

    The classes below it are troubles of the database, which its operator can end. An error that
    has none of these classes is a fault of this program.
    """

    what = "the database failed"

    def __init__(self, why: str) -> None:
        super().__init__(f"{self.what}: {why}")
        self.why = why


class DatabaseTrouble(DatabaseFailed):
    """The database can't work now, whatever it is asked. It can again once its operator acts."""


class DatabaseFull(DatabaseTrouble):
    """There is no room: on the database's disk, under a quota or a limit, or in its memory."""

    what = "the database has no room left"


class DatabaseSlow(DatabaseTrouble):
    """A statement, a lock or a free connection took longer than a limit allows."""

    what = "the database took too long"


class DatabaseDenied(DatabaseTrouble):
    """The database's user lacks a right, or its login is refused."""

    what = "the database denies a right"


class DatabaseDamaged(DatabaseTrouble):
    """The database's files can't be read or are no database."""

    what = "the database is damaged"
