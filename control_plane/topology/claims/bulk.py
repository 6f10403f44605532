"""Imports and exports claims as NDJSON: in bulk, resumable, and no line is lost silently.

`bulk_lines` says what a line looks like.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import literal_column, select, tuple_

from control_plane.topology.claims import epochs
from control_plane.topology.claims.bulk_lines import Line, Reject, parse_lines, write_line
from control_plane.topology.storage import schema
from control_plane.topology.storage.statements import (
    Statement,
    chunked,
    execute,
    in_keys,
    insert_many,
    stored,
)
from control_plane.topology.storage.store import Store
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.claim import RecordStatus

LINES_PER_TRANSACTION = 5000
_COLUMNS = (
    *("bucket", "value", "cell_id", "spelling", "subject", "source", "subject_type", "subject_id"),
    *("source_type", "source_id", "user_data", "uuid", "status", "revision"),
    *("created_at", "updated_at"),
)
_FEED = ("revision", "ordinal", "kind", "action", "key", "after", "actor", "at")
_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import has done so far; ``next_line`` is the number of lines to skip to resume."""

    next_line: int
    created: int
    present: int
    rejected: int


class Bulk:
    """Imports claims in many bounded transactions; exports them in one consistent read."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def import_(
        self,
        lines: Iterable[str],
        *,
        actor: str,
        skip: int = 0,
        reject: Callable[[Reject], None],
        progress: Callable[[Imported], None],
        dry_run: bool = False,
    ) -> Imported:
        """Claim what the lines say, `LINES_PER_TRANSACTION` lines a transaction.

        A claim that stands already as its line says counts as present: so a line may come twice,
        and an import may be resumed at any line.

        Args:
            lines: NDJSON, see `bulk_lines`.
            actor: who imports, for the audit.
            skip: how many lines to leave out at the beginning.
            reject: gets each line that is malformed, names no living cell, or whose value
                another cell or another subject has. The other lines are imported all the same.
            progress: called after each commit; its ``next_line`` is safe to keep for resuming.
            dry_run: check everything and change nothing.
        """
        done = Imported(skip, 0, 0, 0)
        numbered = itertools.islice(enumerate(lines, 1), skip, None)
        while chunk := list(itertools.islice(numbered, LINES_PER_TRANSACTION)):
            rejects: list[Reject] = []
            parsed = parse_lines(chunk, rejects)
            (created, present, refused), _ = self._store.write(
                actor, partial(_take, parsed=parsed), dry_run=dry_run
            )
            rejects += refused
            for one in sorted(rejects, key=lambda one: one.line):
                reject(one)
            done = Imported(
                chunk[-1][0],
                done.created + created,
                done.present + present,
                done.rejected + len(rejects),
            )
            progress(done)
        return done

    def export(self, after: _Key | None = None, limit: int | None = None) -> Generator[str]:
        """Yield claims as lines, in the order of their keys, as of one moment.

        What a lease is creating is left out, because it may be rolled back; what a lease is
        destroying still stands.

        Args:
            after: only keys after this one: to resume, that of the last line.
            limit: how many lines; the database then reads no more. None for all.
        """
        claims, cells = schema.claims.c, schema.cells.c
        query = (
            select(schema.claims, cells.name.label("cell"))
            .join(schema.cells, cells.id == claims.cell_id)
            # A literal: with a parameter, PostgreSQL's generic plan assumes few claims are left.
            .where(claims.status != literal_column(f"'{RecordStatus.CREATING}'"))
            .order_by(claims.bucket, claims.value)
            .execution_options(yield_per=LINES_PER_TRANSACTION)
        )
        if after is not None:
            # A comparison of rows: each engine starts at that place of the primary key.
            query = query.where(tuple_(claims.bucket, claims.value) > tuple_(*after))
        with self._store.read() as connection:
            for row in connection.execute(query.limit(limit)):
                yield write_line(row)


def _take(tx: Transaction, parsed: list[Line]) -> tuple[int, int, list[Reject]]:
    """Insert what is free; return how many, how many stand as their line says, and the rejects."""
    cells = {row.name: row for row in tx.connection.execute(select(schema.cells))}
    rejects: list[Reject] = []
    first: dict[_Key, Line] = {}
    for line in parsed:
        cell = cells.get(line.cell)
        if cell is None or cell.state == "retired":
            why = f"there is no cell {line.cell!r}" if cell is None else f"{line.cell} is retired"
            rejects.append(line.rejected(why))
            continue
        other = first.setdefault(line.key, line)
        if (other.cell, other.values) != (line.cell, line.values):
            why = f"line {other.number} claims {':'.join(line.key)} otherwise"
            rejects.append(line.rejected(why))
    lines = list(first.values())
    at = stored(tx.connection, tx.at)
    rows = [
        (*one.key, cells[one.cell].id, *one.values, one.uuid, "active", tx.revision, at, at)
        for one in lines
    ]
    created = insert_many(tx.connection, "claims", _COLUMNS, rows)
    present = 0
    if created < len(lines):
        standing = _standing(tx, [line.key for line in lines])
        fresh = [line for line in lines if standing[line.key][0] == line.uuid]
        for line in lines:
            old, owner, values, lease = standing[line.key]
            if old == line.uuid:
                continue
            if lease is not None:
                # It may be gone tomorrow, or become another.
                why = f"lease {lease} of {owner} holds {':'.join(line.key)}: import it again later"
                rejects.append(line.rejected(why))
            elif (owner, values) == (line.cell, line.values):
                present += 1
            else:
                why = f"{':'.join(line.key)} is claimed already (owner: {owner})"
                if (owner, values[1:]) == (line.cell, line.values[1:]):
                    why += f", spelled {values[0] or line.key[1]!r}"
                rejects.append(line.rejected(why))
        lines = fresh
    epochs.claimed(tx, {line.key: cells[line.cell].id for line in lines})
    _log(tx, lines, {name: row.id for name, row in cells.items()})
    return created, present, rejects


_Standing = tuple[str, str, tuple[Any, ...], str | None]


def _standing(tx: Transaction, keys: list[_Key]) -> dict[_Key, _Standing]:
    """Uuid, owner, attributes and lease of each claim."""
    found: dict[_Key, _Standing] = {}
    for chunk in chunked(keys):
        wanted = in_keys(chunk)
        sql = (
            "SELECT c.bucket, c.value, c.uuid, o.name, c.spelling, c.subject, c.source,"  # noqa: S608 - no text from outside
            " c.subject_type, c.subject_id, c.source_type, c.source_id, c.user_data, c.lease"
            f" FROM claims c JOIN cells o ON o.id = c.cell_id WHERE {wanted.sql}"
        )
        for row in execute(tx.connection, [Statement(sql, wanted.params)])[0].rows:
            values = (*row[4:10], *(None if not one else bytes(one) for one in row[10:12]))
            found[row[0], row[1]] = (row[2], row[3], values, row[12])
    return found


def _log(tx: Transaction, lines: list[Line], ids: dict[str, int]) -> None:
    told = {
        name: {"cell_id": ids[name], "cell": name, "imported": True}
        for name in {line.cell for line in lines}
    }
    plain = {name: json.dumps(one) for name, one in told.items()}

    def after(line: Line) -> str:
        spelling = line.values[0]
        if spelling is None:
            return plain[line.cell]
        return json.dumps(told[line.cell] | {"spelling": spelling})

    at = stored(tx.connection, tx.at)
    rows = [
        (tx.revision, ordinal, "claim", "create", f"{b}:{v}", after(line), tx.actor, at)
        for ordinal, line in enumerate(lines)
        for b, v in (line.key,)
    ]
    if rows:
        insert_many(tx.connection, "changes", _FEED, rows)
    tx.appended = len(rows)
