"""The change feed: every committed change, in the order of revisions."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import UTC
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from control_plane.topology import schema
from control_plane.topology.errors import Gone
from control_plane.topology.model import Change

MAX_PAGE = 1000
WINDOW = 10_000
"""Revisions that one page of `newest` looks at."""
_T = schema.changes


def revision(connection: Connection) -> int:
    """The revision of the last commit."""
    return int(connection.execute(select(schema.revisions.c.revision)).scalar_one())


def edge_revision(connection: Connection) -> int:
    """The revision of the last change to a cell or the active ruleset."""
    return int(connection.execute(select(schema.revisions.c.edge_revision)).scalar_one())


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
    oldest = _floor(connection)
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
    oldest = int(connection.execute(select(schema.revisions.c.oldest_change)).scalar_one())
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


def prune(connection: Connection, keep: int) -> int:
    """Forget all but the last ``keep`` revisions; returns the oldest revision still covered.

    What is forgotten stays so: with a larger ``keep`` than before the feed grows back only as new
    changes come.
    """
    floor = max(_floor(connection), revision(connection) - keep)
    connection.execute(delete(_T).where(_T.c.revision <= floor))
    connection.execute(update(schema.revisions).values(oldest_change=floor))
    return floor


def _floor(connection: Connection) -> int:
    return int(connection.execute(select(schema.revisions.c.oldest_change)).scalar_one())


def _change(row: Row[Any]) -> Change:
    at = row.at if row.at.tzinfo else row.at.replace(tzinfo=UTC)
    before = json.loads(row.before) if row.before else None
    after = json.loads(row.after) if row.after else None
    return Change(row.revision, row.kind, row.action, row.key, before, after, row.actor, at)
