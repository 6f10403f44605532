"""The change feed: every committed change, in the order of revisions."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import takewhile
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, case, delete, false, func, or_, select, update

from control_plane.names import MAX_PAGE
from control_plane.topology.storage import schema
from control_plane.topology.storage.statements import clock, moment
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.change import Change
from control_plane.topology.values.errors import Gone

WINDOW = 10_000
"""Revisions that one page of `newest` looks at."""
PRUNE_ROWS = 1000
"""Changes that one step of `prune` forgets, unless a single revision has more."""
Archive = Callable[[Sequence[Change]], None]
_T = schema.changes


def revision(connection: Connection) -> int:
    """The revision of the last commit."""
    return int(connection.execute(select(schema.revisions.c.revision)).scalar_one())


class Revisions(NamedTuple):
    """The last commit, and the last that changed a cell or the active ruleset (`Snapshot`)."""

    revision: int
    edge_revision: int
    answers_revision: int


def revisions(connection: Connection) -> Revisions:
    """All of them, as of one moment."""
    row = schema.revisions.c
    same = row.answers_as_of == row.edge_revision
    answers = case((same, row.answers_revision), else_=row.edge_revision)
    found = connection.execute(select(row.revision, row.edge_revision, answers)).one()
    return Revisions(*found)


def since(
    connection: Connection,
    after: int,
    *,
    limit: int = MAX_PAGE,
    kinds: Collection[str] | None = None,
) -> list[Change]:
    """Changes with a revision above ``after``, oldest first; whole revisions only.

    Raises:
        Gone: the feed has been pruned past ``after``.
    """
    oldest = oldest_change(connection)
    if after < oldest:
        raise Gone(oldest)
    query = select(_T).where(_T.c.revision > after).order_by(_T.c.revision, _T.c.ordinal)
    if kinds:
        query = query.where(_T.c.kind.in_(list(kinds)))
    rows = connection.execute(query.limit(limit)).all()
    if len(rows) == limit:
        last = rows[-1].revision
        whole = [row for row in rows if row.revision < last]
        rest = connection.execute(query.where(_T.c.revision == last)).all()
        rows = [*whole, *rest]
    return [_change(row) for row in rows]


def of_keys(
    connection: Connection, keys: Sequence[str], limit: int, before: int | None = None
) -> list[Change]:
    """The newest changes of these keys (before a revision), oldest first; as far as it reaches."""
    if not keys:
        return []
    newest = (_T.c.revision.desc(), _T.c.ordinal.desc())
    query = select(_T).where(_T.c.key.in_(list(keys))).order_by(*newest).limit(limit)
    if before is not None:
        query = query.where(_T.c.revision < before)
    return [_change(row) for row in reversed(connection.execute(query).all())]


def newest(
    connection: Connection,
    kind: str | None,
    actor: str | None,
    before: tuple[int, int] | None,
    limit: int,
) -> tuple[list[Change], tuple[int, int] | None]:
    """Changes, newest first, before a (revision, ordinal); and the place to go on, if any.

    Looks at `WINDOW` revisions at most: a rare actor costs several short pages, not one long scan.
    """
    before = before or (revision(connection) + 1, 0)
    oldest = oldest_change(connection)
    floor = max(before[0] - WINDOW, oldest)
    query = select(_T).where(_T.c.revision > floor, _T.c.revision <= before[0])
    earlier = (_T.c.revision < before[0]) | (_T.c.ordinal < before[1])
    query = query.where(earlier).order_by(_T.c.revision.desc(), _T.c.ordinal.desc())
    if kind is not None:
        query = query.where(_T.c.kind == kind)
    if actor is not None:
        query = query.where(_T.c.actor == actor)
    rows = connection.execute(query.limit(limit)).all()
    if len(rows) == limit:
        return [_change(row) for row in rows], (rows[-1].revision, rows[-1].ordinal)
    # An ordinal above all: the whole of the next revision is still to come.
    return [_change(row) for row in rows], (floor, 2**31 - 1) if floor > oldest else None


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one step of pruning did. ``oldest``: changes up to this revision are gone by now."""

    oldest: int
    rows: int
    more: bool
    """Whether another step would find something."""


def prune(
    tx: Transaction, older_than: timedelta | None, keep: int | None, archive: Archive | None
) -> Pruned:
    """Forget the oldest revisions, `PRUNE_ROWS` changes at a time or one whole revision.

    Those that are older than an age by the database's clock, or not among the last ``keep``. Both
    None: nothing. What is forgotten stays so. ``archive`` gets it first, and gets it again if the
    transaction is tried again.
    """
    connection = tx.connection
    goes = _goes(tx, older_than, keep)
    order = (_T.c.revision, _T.c.ordinal)
    head = select(_T).order_by(*order).limit(PRUNE_ROWS)
    rows = list(takewhile(goes, connection.execute(head).all()))
    full = len(rows) == PRUNE_ROWS
    if full:
        # The last revision may go on past the limit.
        whole = [row for row in rows if row.revision < rows[-1].revision]
        last = select(_T).where(_T.c.revision == rows[-1].revision).order_by(*order)
        rows = whole or list(connection.execute(last).all())
    oldest = oldest_change(connection)
    if not rows:
        return Pruned(oldest, 0, more=False)
    if archive is not None:
        archive([_change(row) for row in rows])
    # After a restore there are changes below the floor, too.
    oldest = max(oldest, rows[-1].revision)
    connection.execute(delete(_T).where(_T.c.revision <= rows[-1].revision))
    connection.execute(update(schema.revisions).values(oldest_change=oldest))
    return Pruned(oldest, len(rows), more=full)


def prunable(
    connection: Connection, older_than: timedelta | None, keep: int | None
) -> tuple[int, int]:
    """How many changes `prune` would forget step by step, and up to which revision."""
    going = [_T.c.revision <= revision(connection) - keep] if keep is not None else []
    if older_than is not None:
        going.append(_T.c.at < clock(connection) - older_than)
    query = select(func.count(), func.max(_T.c.revision)).where(or_(false(), *going))
    rows, last = connection.execute(query).one()
    return int(rows), max(oldest_change(connection), last or 0)


def _goes(
    tx: Transaction, older_than: timedelta | None, keep: int | None
) -> Callable[[Row[Any]], bool]:
    before = tx.at - older_than if older_than is not None else None
    upto = revision(tx.connection) - keep if keep is not None else 0

    def goes(row: Row[Any]) -> bool:
        return row.revision <= upto or (before is not None and moment(row.at) < before)

    return goes


def oldest_change(connection: Connection) -> int:
    """Changes up to this revision are no longer kept; 0: all are."""
    return int(connection.execute(select(schema.revisions.c.oldest_change)).scalar_one())


def _change(row: Row[Any]) -> Change:
    before = json.loads(row.before) if row.before else None
    after = json.loads(row.after) if row.after else None
    return Change(
        row.revision, row.kind, row.action, row.key, before, after, row.actor, moment(row.at)
    )
