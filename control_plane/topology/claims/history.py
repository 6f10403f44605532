"""The topology as it was at an earlier revision, as far back as the change feed is kept.

Each entry of the feed says what one thing was before it. So what a thing was at revision R is what
the first entry about it after R says; if there is none, it still is what it was::

    revision  entry                              "route:acme" at 5: owned by cell 1 (the entry of 7)
    3         claim create route:acme → cell 1                at 8: owned by cell 2 (as it is now)
    7         claim move   route:acme   cell 1 → cell 2       at 2: nobody's (the entry of 3)

Each thing takes one look into the index of keys, however long ago R is. Everything is read as of
one moment, so changes that are made meanwhile do no harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from control_plane.topology import changes, rulesets
from control_plane.topology.cells.rows import all_cells
from control_plane.topology.claims import plain
from control_plane.topology.storage import Store, clock, schema
from control_plane.topology.values import (
    Cell,
    Change,
    ClaimKey,
    Invalid,
    KeyPair,
    PastGone,
    Problem,
    Ruleset,
    cell_of,
    normalised_or_none,
)

CLOCKS_DIFFER = timedelta(seconds=5)
"""A time that is so little ahead of the database's clock means now."""


@dataclass(frozen=True, slots=True)
class PastTopology:
    """Cells, the active ruleset and the owners of claims as of one revision."""

    revision: int
    cells: tuple[Cell, ...]
    ruleset: Ruleset | None
    """The version that was active, if any was."""
    _connection: Connection

    def owners_of(self, keys: Sequence[KeyPair]) -> list[int | None]:
        """Return the id of the cell that owned each key, in order; None if none did."""
        pairs = [(bucket, normalised_or_none(bucket, value)) for bucket, value in keys]
        wanted = [ClaimKey(bucket, value) for bucket, value in pairs if value is not None]
        now: Mapping[ClaimKey, int] = plain.owner_ids(self._connection, wanted)
        texts = [str(key) for key in wanted]
        later = changes.first_after(self._connection, "claim", texts, self.revision)
        owners = {
            key: self._owner_before(later[str(key)]) if str(key) in later else now.get(key)
            for key in wanted
        }
        return [None if value is None else owners[ClaimKey(b, value)] for b, value in pairs]

    def _owner_before(self, change: Change) -> int | None:
        """Return who owned a claim before a change of it."""
        if change.action == "create":
            return None
        # A lease that takes hold of a claim, or replaces it, leaves the owner as it is.
        said: Mapping[str, Any] = change.before or change.after or {}
        if "cell_id" in said:
            return int(said["cell_id"])
        names = {cell.name: cell.id for cell in self.cells}
        return names.get(str(said.get("cell")))


class History:
    """Reads what the topology was."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @contextmanager
    def at(self, when: int | datetime) -> Iterator[PastTopology]:
        """Give the topology as of a revision, or as of a time (by the database's clock).

        Raises:
            PastGone: Changes that were made since then are no longer kept.
            Invalid: The revision or the time is still to come.
        """
        with self._store.read() as connection:
            revision = _revision(connection, when)
            yield PastTopology(
                revision,
                _cells(connection, revision),
                _active(connection, revision),
                connection,
            )


def _revision(connection: Connection, when: int | datetime) -> int:
    """Return the revision that is meant, of which everything is known."""
    newest, oldest = changes.revision(connection), changes.oldest(connection)
    if isinstance(when, datetime):
        if when > clock(connection) + CLOCKS_DIFFER:
            raise Invalid(Problem("at", f"{when.isoformat()} is still to come", "name a time ago"))
        found = changes.revision_at(connection, when)
        if found is None:
            raise PastGone(f"at {when.isoformat()}", oldest)
        return found
    if when > newest:
        hint = f"the newest is {newest}"
        raise Invalid(Problem("at", f"revision {when} is still to come", hint))
    if when < oldest:
        raise PastGone(f"at revision {when}", oldest)
    return when


def _cells(connection: Connection, revision: int) -> tuple[Cell, ...]:
    """Return the cells of a revision, ordered by id."""
    # Names of deleted cells are kept for ever; a name may have had several cells.
    names = set(connection.execute(select(schema.cell_ids.c.cell)).scalars())
    cells = {cell.name: cell for cell in all_cells(connection)}
    later = changes.first_after(connection, "cell", sorted(names | cells.keys()), revision)
    for name, change in later.items():
        cells.pop(name, None)
        if change.before is not None:
            cells[name] = cell_of(change.before)
    return tuple(sorted(cells.values(), key=lambda cell: cell.id))


def _active(connection: Connection, revision: int) -> Ruleset | None:
    """Return the ruleset that was active at a revision."""
    columns = schema.rulesets.c
    versions = connection.execute(select(columns.name, columns.version)).all()
    keys = [f"{row.name}@{row.version}" for row in versions]
    later = changes.first_after(connection, "ruleset", keys, revision, action="activate")
    if not later:
        return rulesets.active(connection)
    before = min(later.values(), key=lambda change: change.revision).before
    if before is None:
        return None
    return rulesets.get(connection, str(before["name"]), int(before["version"]))
