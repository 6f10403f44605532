"""The answers of look-ups: owners, and what was committed, as of one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from control_plane.topology.values import NormalisedKeys

_new = tuple.__new__
"""Makes a named tuple at a third of the cost of calling its class; for the hot path only."""


class Seen(NamedTuple):
    """Owners of keys, and what was committed when they were read.

    A caller that holds cells and a ruleset as of ``edge_revision`` may use the owners with them. If
    the numbers differ, cells or the active ruleset have changed, and it reads them again first.
    """

    revision: int
    """The newest revision that was committed then."""
    edge_revision: int
    """The revision of the last change to a cell or to the active ruleset."""
    owners: Sequence[int | None]
    """The owning cell's id of each key, in order; None where nobody owns it.

    Of a key that a move holds, minus the number of the move (see `values.hold`).
    """
    shards: Sequence[int]
    """The shards of the keys. A key that can't be claimed has none."""
    epoch: int = 0
    """The newest epoch of all shards, where the look-up reads it."""
    database: str = ""
    """The name of the database, where the look-up reads it.

    Another database has another name, and so has the same one after a restore or a promotion.
    """

    @classmethod
    def of(cls, row: Sequence[Any], keys: NormalisedKeys) -> Seen:
        """Return the answer in a row: revision, edge revision, owners of the normalised keys."""
        owners = keys.spread(row[2:]) if keys.left_out else row[2:]
        return _new(cls, (row[0], row[1], owners, keys.shards, 0, ""))


@dataclass(frozen=True, slots=True)
class Epochs:
    """The epochs of all shards as of a revision, in a database that is named as in `Seen`."""

    revision: int
    edge_revision: int
    epochs: Mapping[int, int]
    database: str = ""


class FeedPosition(NamedTuple):
    """How far the change feed has come, read by one statement.

    Two positions that differ in ``revision`` alone have only claims between them, and none of these
    claims has changed its owner. A reader of cells, ruleset and epochs need not read them again.
    """

    revision: int
    edge_revision: int
    """The revision of the last change to a cell or to the active ruleset."""
    epochs: int
    """The sum of all shards' epochs. It grows with each epoch that is raised."""
    connection: int = 1
    """How many connections the look-up has opened so far.

    The database behind another connection may have another history.
    """
