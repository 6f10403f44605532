"""Imports and exports claims as NDJSON: in bulk, resumable, and no line is lost silently.

`bulk_lines` says what a line looks like.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Row, literal_column, select, tuple_

from control_plane.topology.claims import epochs
from control_plane.topology.claims.bulk_lines import Line, Reject, parse_lines, write_line
from control_plane.topology.storage import (
    Statement,
    Store,
    Transaction,
    chunked,
    execute,
    in_keys,
    insert_many,
    schema,
    stored,
)
from control_plane.topology.values import CellState, ClaimKey, KeyPair, RecordStatus

LINES_PER_TRANSACTION = 5000
_COLUMNS = (
    *("bucket", "value", "cell_id", "spelling", "subject", "source", "subject_type", "subject_id"),
    *("source_type", "source_id", "user_data", "uuid", "status", "revision"),
    *("created_at", "updated_at"),
)
_FEED = ("revision", "ordinal", "kind", "action", "key", "after", "actor", "at")


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import so far; ``next_line`` is the number of lines to skip to resume."""

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
            taken, _ = self._store.write(actor, partial(_take, parsed=parsed), dry_run=dry_run)
            rejects += taken.rejects
            for one in sorted(rejects, key=lambda one: one.line):
                reject(one)
            done = Imported(
                chunk[-1][0],
                done.created + taken.created,
                done.present + taken.present,
                done.rejected + len(rejects),
            )
            progress(done)
        return done

    def export(self, after: KeyPair | None = None, limit: int | None = None) -> Generator[str]:
        """Yield claims as lines, in the order of their keys, as of one moment.

        A claim that a lease is creating is left out, because it may be rolled back. A claim that a
        lease is destroying still stands, and is exported.

        Args:
            after: only keys after this one; to resume, give the key of the last line.
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


@dataclass(slots=True)
class _Taken:
    """The outcome of some lines in one transaction."""

    created: int = 0
    present: int = 0
    rejects: list[Reject] = field(default_factory=list)

    def reject(self, line: Line, why: str) -> None:
        self.rejects.append(line.rejected(why))


def _take(tx: Transaction, parsed: list[Line]) -> _Taken:
    """Create the claims that are free, and tell those that stand already from those taken."""
    taken = _Taken()
    cells = {row.name: row for row in tx.connection.execute(select(schema.cells))}
    lines = _without_contradictions(parsed, cells, taken)
    at = stored(tx.connection, tx.at)
    rows = [
        (*line.key, cells[line.cell].id, *line.values, line.uuid, "active", tx.revision, at, at)
        for line in lines
    ]
    taken.created = insert_many(tx.connection, "claims", _COLUMNS, rows)
    if taken.created < len(lines):
        lines = _created(tx, lines, taken)
    epochs.claimed(tx, {line.key: cells[line.cell].id for line in lines})
    _log(tx, lines, {name: row.id for name, row in cells.items()})
    return taken


def _without_contradictions(
    parsed: list[Line], cells: Mapping[str, Row[Any]], taken: _Taken
) -> list[Line]:
    """Return the first line of each key whose cell lives; reject lines that say otherwise."""
    first: dict[ClaimKey, Line] = {}
    for line in parsed:
        cell = cells.get(line.cell)
        if cell is None:
            taken.reject(line, f"there is no cell {line.cell!r}")
            continue
        if not CellState(cell.state).may_own:
            taken.reject(line, f"{line.cell} is {cell.state}")
            continue
        other = first.setdefault(line.key, line)
        if (other.cell, other.values) != (line.cell, line.values):
            taken.reject(line, f"line {other.number} claims {line.key} with other attributes")
    return list(first.values())


def _created(tx: Transaction, lines: list[Line], taken: _Taken) -> list[Line]:
    """Return the lines whose claims were created; count or reject the others.

    A claim has the uuid of the line that created it.
    """
    created: list[Line] = []
    standing = _standing(tx, [line.key for line in lines])
    for line in lines:
        claim = standing[line.key]
        if claim.uuid == line.uuid:
            created.append(line)
        elif claim.lease is not None:
            # The lease may end in a deletion or in a replacement.
            why = f"lease {claim.lease} of {claim.cell} holds {line.key}: import it again later"
            taken.reject(line, why)
        elif (claim.cell, claim.values) == (line.cell, line.values):
            taken.present += 1
        else:
            why = f"{line.key} is claimed already (owner: {claim.cell})"
            if (claim.cell, claim.values[1:]) == (line.cell, line.values[1:]):
                why += f", spelled {claim.values[0] or line.key[1]!r}"
            taken.reject(line, why)
    return created


class _Standing(NamedTuple):
    """A claim as the database has it; ``values`` as those of a `Line`."""

    uuid: str
    cell: str
    values: tuple[Any, ...]
    lease: str | None


def _standing(tx: Transaction, keys: list[ClaimKey]) -> dict[KeyPair, _Standing]:
    claims: dict[KeyPair, _Standing] = {}
    for chunk in chunked(keys):
        condition = in_keys(chunk)
        sql = (
            "SELECT c.bucket, c.value, c.uuid, o.name, c.spelling, c.subject, c.source,"  # noqa: S608 - no text from outside
            " c.subject_type, c.subject_id, c.source_type, c.source_id, c.user_data, c.lease"
            f" FROM claims c JOIN cells o ON o.id = c.cell_id WHERE {condition.sql}"
        )
        for row in execute(tx.connection, [Statement(sql, condition.params)])[0].rows:
            source_id, user_data = (
                bytes(row[10]) if row[10] else None,
                bytes(row[11]) if row[11] else None,
            )
            values = (*row[4:10], source_id, user_data)
            claims[row[0], row[1]] = _Standing(row[2], row[3], values, row[12])
    return claims


def _log(tx: Transaction, lines: list[Line], ids: dict[str, int]) -> None:
    """Append the created claims to the change feed; the document of a cell is made once."""
    documents = {
        name: {"cell_id": ids[name], "cell": name, "imported": True}
        for name in {line.cell for line in lines}
    }
    texts = {name: json.dumps(document) for name, document in documents.items()}

    def after(line: Line) -> str:
        spelling = line.values[0]
        if spelling is None:
            return texts[line.cell]
        return json.dumps(documents[line.cell] | {"spelling": spelling})

    at = stored(tx.connection, tx.at)
    rows = [
        (tx.revision, ordinal, "claim", "create", str(line.key), after(line), tx.actor, at)
        for ordinal, line in enumerate(lines)
    ]
    if rows:
        insert_many(tx.connection, "changes", _FEED, rows)
    tx.appended = len(rows)
