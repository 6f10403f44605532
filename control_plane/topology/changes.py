"""The change feed: every committed change, in the order of revisions.

A revision is one transaction; its changes are numbered by ordinals from 0. Old revisions are
pruned from the beginning, always whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, case, delete, false, func, or_, select, update

from control_plane.names import MAX_PAGE
from control_plane.topology.storage import Store, Transaction, chunked, clock, moment, schema
from control_plane.topology.values import Change, Gone

WINDOW = 10_000
"""Revisions that one page of `Changes.newest` looks at."""
PRUNE_ROWS = 1000
"""Changes that one step of `Changes.prune` deletes, unless a single revision has more."""
Archive = Callable[[Sequence[Change]], None]
Position = tuple[int, int]
"""The revision and ordinal of a change."""
_ABOVE_ALL_ORDINALS = 2**31 - 1
_T = schema.changes


@dataclass(frozen=True, slots=True)
class Pruned:
    """The result of one step of pruning: ``rows`` changes, up to revision ``oldest``, are gone."""

    oldest: int
    rows: int
    more: bool
    """Whether another step would delete something."""


class Revisions(NamedTuple):
    """The last commit, and the last ones that changed what edges get: see `TopologySnapshot`."""

    revision: int
    edge_revision: int
    answers_revision: int


class Changes:
    """Reads the change feed, and prunes it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def since(
        self, after: int, *, limit: int = MAX_PAGE, kinds: Collection[str] | None = None
    ) -> list[Change]:
        """Return changes with a revision above ``after``, oldest first; whole revisions only.

        Raises:
            Gone: the feed has been pruned past ``after``.
        """
        with self._store.read() as connection:
            return since(connection, after, limit=limit, kinds=kinds)

    def newest(
        self,
        *,
        kind: str | None = None,
        actor: str | None = None,
        before: Position | None = None,
        limit: int = 100,
    ) -> tuple[list[Change], Position | None]:
        """Return changes, newest first, and the position to go on from (None at the end).

        A page looks at `WINDOW` revisions at most: a rare actor costs several short pages, not
        one long scan.

        Args:
            kind: only changes of this kind.
            actor: only changes by this actor.
            before: only changes before this position, which a page before returned.
            limit: 1 to 1,000.
        """
        limit = min(max(limit, 1), MAX_PAGE)
        with self._store.read() as connection:
            before = before or (revision(connection) + 1, 0)
            pruned = oldest(connection)
            floor = max(before[0] - WINDOW, pruned)
            query = select(_T).where(_T.c.revision > floor, _T.c.revision <= before[0])
            earlier = (_T.c.revision < before[0]) | (_T.c.ordinal < before[1])
            query = query.where(earlier).order_by(_T.c.revision.desc(), _T.c.ordinal.desc())
            if kind is not None:
                query = query.where(_T.c.kind == kind)
            if actor is not None:
                query = query.where(_T.c.actor == actor)
            rows = connection.execute(query.limit(limit)).all()
        changes = [_change(row) for row in rows]
        if len(rows) == limit:
            return changes, (rows[-1].revision, rows[-1].ordinal)
        return changes, (floor, _ABOVE_ALL_ORDINALS) if floor > pruned else None

    def oldest(self) -> int:
        """Return the revision up to which changes are pruned; 0 if all are there."""
        with self._store.read() as connection:
            return oldest(connection)

    def prune(
        self,
        *,
        older_than: timedelta | None = None,
        keep: int | None = None,
        archive: Archive | None = None,
    ) -> Pruned:
        """Delete the oldest revisions, `PRUNE_ROWS` changes or one revision at most.

        Call it again while there are ``more``. The audit forgets what is deleted, too.

        Args:
            older_than: delete changes of this age by the database's clock.
            keep: delete changes that are not among so many last revisions. If neither is given,
                nothing is deleted.
            archive: gets the changes before they are deleted; it gets them once more if the
                transaction is tried again.
        """
        return self._store.write("prune", lambda tx: _prune(tx, older_than, keep, archive))[0]

    def prunable(
        self, *, older_than: timedelta | None = None, keep: int | None = None
    ) -> tuple[int, int]:
        """Return how many changes `prune` would delete in all, and up to which revision."""
        with self._store.read() as connection:
            prunes = [_T.c.revision <= revision(connection) - keep] if keep is not None else []
            if older_than is not None:
                prunes.append(_T.c.at < clock(connection) - older_than)
            query = select(func.count(), func.max(_T.c.revision)).where(or_(false(), *prunes))
            rows, last = connection.execute(query).one()
            return int(rows), max(oldest(connection), last or 0)


def revision(connection: Connection) -> int:
    """Return the revision of the last commit."""
    return int(connection.execute(select(schema.revisions.c.revision)).scalar_one())


def revisions(connection: Connection) -> Revisions:
    """Return all revisions as of one moment."""
    row = schema.revisions.c
    same = row.answers_as_of == row.edge_revision
    answers = case((same, row.answers_revision), else_=row.edge_revision)
    return Revisions(*connection.execute(select(row.revision, row.edge_revision, answers)).one())


def since(
    connection: Connection,
    after: int,
    *,
    limit: int = MAX_PAGE,
    kinds: Collection[str] | None = None,
) -> list[Change]:
    """Return changes with a revision above ``after``, oldest first; whole revisions only.

    Raises:
        Gone: the feed has been pruned past ``after``.
    """
    pruned = oldest(connection)
    if after < pruned:
        raise Gone(pruned)
    query = select(_T).where(_T.c.revision > after).order_by(_T.c.revision, _T.c.ordinal)
    if kinds:
        query = query.where(_T.c.kind.in_(list(kinds)))
    rows = connection.execute(query.limit(limit)).all()
    if len(rows) == limit:
        last = rows[-1].revision
        complete = [row for row in rows if row.revision < last]
        rest = connection.execute(query.where(_T.c.revision == last)).all()
        rows = [*complete, *rest]
    return [_change(row) for row in rows]


def of_keys(
    connection: Connection, keys: Sequence[str], limit: int, before: int | None = None
) -> list[Change]:
    """Return the newest changes of these keys (before a revision), oldest first."""
    if not keys:
        return []
    newest = (_T.c.revision.desc(), _T.c.ordinal.desc())
    query = select(_T).where(_T.c.key.in_(list(keys))).order_by(*newest).limit(limit)
    if before is not None:
        query = query.where(_T.c.revision < before)
    return [_change(row) for row in reversed(connection.execute(query).all())]


def first_after(
    connection: Connection, kind: str, keys: Sequence[str], after: int, action: str | None = None
) -> dict[str, Change]:
    """Return by key the first change of each key after a revision, of those that have any.

    Args:
        connection: Reads as of one moment.
        kind: Only changes of this kind.
        keys: The keys, as the feed writes them.
        after: Only changes with a revision above this one.
        action: Only this action, if it is given.
    """
    asked = [_T.c.kind == kind, *([_T.c.action == action] if action is not None else [])]
    first: dict[str, Change] = {}
    for chunk in chunked(list(dict.fromkeys(keys))):
        of_keys = select(_T.c.key, func.min(_T.c.revision).label("revision"))
        of_keys = of_keys.where(_T.c.key.in_(chunk), _T.c.revision > after, *asked)
        lowest = of_keys.group_by(_T.c.key).subquery()
        same = (_T.c.key == lowest.c.key) & (_T.c.revision == lowest.c.revision)
        query = select(_T).join(lowest, same).where(*asked).order_by(_T.c.ordinal)
        for row in connection.execute(query):
            first.setdefault(row.key, _change(row))
    return first


def revision_at(connection: Connection, when: datetime) -> int | None:
    """Return the newest revision that was committed by a time; None if it is no longer known.

    Times in the feed never go back, unless the database's clock did. So a time is found by halving.
    """
    low, high = oldest(connection), revision(connection)
    if low and _first_known(connection, low) > when:
        return None
    while low < high:
        middle = (low + high + 1) // 2
        if _is_by(connection, middle, when):
            low = middle
        else:
            high = middle - 1
    return low


def _first_known(connection: Connection, pruned: int) -> datetime:
    """Return the time of the oldest change that is kept; of the last commit if none is."""
    kept = select(_T.c.at).where(_T.c.revision > pruned).order_by(_T.c.revision).limit(1)
    last = select(schema.revisions.c.at)
    at = connection.execute(kept).scalar_one_or_none()
    return moment(at or connection.execute(last).scalar_one())


def _is_by(connection: Connection, upto: int, when: datetime) -> bool:
    """Return whether the last change up to a revision was made by a time."""
    query = select(_T.c.at).where(_T.c.revision <= upto).order_by(_T.c.revision.desc()).limit(1)
    at = connection.execute(query).scalar_one_or_none()
    return at is None or moment(at) <= when


def _prune(
    tx: Transaction, older_than: timedelta | None, keep: int | None, archive: Archive | None
) -> Pruned:
    connection = tx.connection
    order = (_T.c.revision, _T.c.ordinal)
    head = select(_T).order_by(*order).limit(PRUNE_ROWS)
    rows = list(takewhile(_prunes(tx, older_than, keep), connection.execute(head).all()))
    full = len(rows) == PRUNE_ROWS
    if full:
        # The last revision may go on past the limit.
        complete = [row for row in rows if row.revision < rows[-1].revision]
        last = select(_T).where(_T.c.revision == rows[-1].revision).order_by(*order)
        rows = complete or list(connection.execute(last).all())
    pruned = oldest(connection)
    if not rows:
        return Pruned(pruned, 0, more=False)
    if archive is not None:
        archive([_change(row) for row in rows])
    # After a restore there are changes below the floor, too.
    pruned = max(pruned, rows[-1].revision)
    connection.execute(delete(_T).where(_T.c.revision <= rows[-1].revision))
    connection.execute(update(schema.revisions).values(oldest_change=pruned))
    return Pruned(pruned, len(rows), more=full)


def _prunes(
    tx: Transaction, older_than: timedelta | None, keep: int | None
) -> Callable[[Row[Any]], bool]:
    """Return whether a change is old enough to be deleted, as a function of its row."""
    before = tx.at - older_than if older_than is not None else None
    upto = revision(tx.connection) - keep if keep is not None else 0

    def prunes(row: Row[Any]) -> bool:
        return row.revision <= upto or (before is not None and moment(row.at) < before)

    return prunes


def oldest(connection: Connection) -> int:
    """Return the revision up to which changes are pruned; 0 if all are there."""
    return int(connection.execute(select(schema.revisions.c.oldest_change)).scalar_one())


def _change(row: Row[Any]) -> Change:
    before = json.loads(row.before) if row.before else None
    after = json.loads(row.after) if row.after else None
    return Change(
        row.revision, row.kind, row.action, row.key, before, after, row.actor, moment(row.at)
    )
