"""Claims in and out as NDJSON, one claim a line: in bulk, resumable, nothing lost silently.

A line has ``bucket``, ``value`` and ``cell`` (a name), and may have ``subject``, ``source``,
``subject_type``, ``subject_id``, ``source_type``, ``source_id`` and ``user_data`` (both base64).
The value stands as its cell spells it.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, literal_column, select, tuple_

from control_plane.names import MAX_LINE_BYTES
from control_plane.topology.claims import epochs, update
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
from control_plane.topology.values.claim import RecordSpec, RecordStatus
from control_plane.topology.values.claim_key import can_be_kept, normalise_spelled
from control_plane.topology.values.errors import Invalid, Problem

BATCH_LINES = 5000
"""Lines of one transaction."""
MAX_TEXT = 160
_NUMBERS = ("subject_type", "subject_id", "source_type")
_TEXTS = ("subject", "source")
_BYTES = ("source_id", "user_data")
_NEEDED = ("bucket", "value", "cell")
_FIELDS = frozenset({*_NEEDED, *_NUMBERS, *_TEXTS, *_BYTES})
_PLAIN = (None, None, None, 0, 0, 0, None, None)
_COLUMNS = (
    *("bucket", "value", "cell_id", "spelling", "subject", "source", "subject_type", "subject_id"),
    *("source_type", "source_id", "user_data", "uuid", "status", "revision"),
    *("created_at", "updated_at"),
)
_FEED = ("revision", "ordinal", "kind", "action", "key", "after", "actor", "at")
_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Reject:
    """A line that was not taken, and why. Lines count from 1."""

    line: int
    reason: str
    text: str

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types, a line of the file of rejects."""
        return {"line": self.line, "reason": self.reason, "text": self.text}


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import has done so far. ``next_line`` is where to resume: lines to skip."""

    next_line: int
    created: int
    present: int
    rejected: int


@dataclass(slots=True)
class _Line:
    """A line that is well formed, with its row but for what the transaction adds.

    ``values`` begin with the spelling.
    """

    number: int
    text: str
    key: _Key
    cell: str
    values: tuple[Any, ...]
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    def rejected(self, why: str) -> Reject:
        return Reject(self.number, why, self.text.rstrip("\n"))


def import_claims(
    store: Store,
    lines: Iterable[str],
    *,
    actor: str,
    skip: int = 0,
    reject: Callable[[Reject], None],
    progress: Callable[[Imported], None],
    dry_run: bool = False,
) -> Imported:
    """Claim what the lines say, `BATCH_LINES` lines a transaction, after ``skip`` lines.

    A claim that stands already as the line says is counted as present, so a line may come twice
    and an import may be resumed at any line. A line that is malformed, names no living cell, or
    whose value another cell or another subject has, goes to ``reject``; the rest of its batch is
    taken all the same. ``progress`` is called after each commit: its ``next_line`` is safe to
    keep for resuming.
    """
    done = Imported(skip, 0, 0, 0)
    numbered = itertools.islice(enumerate(lines, 1), skip, None)
    while some := list(itertools.islice(numbered, BATCH_LINES)):
        rejects: list[Reject] = []
        wanted = _parsed(some, rejects)
        (created, present, refused), _ = store.write(
            actor, partial(_take, wanted=wanted), dry_run=dry_run
        )
        rejects += refused
        for one in sorted(rejects, key=lambda one: one.line):
            reject(one)
        done = Imported(
            some[-1][0],
            done.created + created,
            done.present + present,
            done.rejected + len(rejects),
        )
        progress(done)
    return done


def _parsed(numbered: list[tuple[int, str]], rejects: list[Reject]) -> list[_Line]:
    found: list[_Line] = []
    for number, text in numbered:
        if not text.strip():
            continue
        try:
            found.append(_line(number, text))
        except Invalid as error:
            rejects.append(Reject(number, str(error), text[:MAX_LINE_BYTES].rstrip("\n")))
    return found


def _line(number: int, text: str) -> _Line:
    if len(text) > MAX_LINE_BYTES:
        raise Invalid(Problem("line", "too long", f"at most {MAX_LINE_BYTES} bytes"))
    try:
        given = json.loads(text)
    except ValueError as error:
        raise Invalid(Problem("line", f"no JSON: {error}", "one object a line")) from error
    if not isinstance(given, dict) or not given.keys() <= _FIELDS:
        unknown = sorted(given.keys() - _FIELDS) if isinstance(given, dict) else "no object"
        raise Invalid(Problem("line", f"unexpected: {unknown}", f"use {sorted(_FIELDS)}"))
    for name in _NEEDED:
        if not isinstance(given.get(name), str):
            raise Invalid(Problem(name, "is missing or no text", "give it as text"))
    bucket = given["bucket"]
    value, spelling = normalise_spelled(bucket, given["value"])
    plain = spelling is None and len(given) == len(_NEEDED)
    values = _PLAIN if plain else (spelling, *_attributes(bucket, value, given))
    return _Line(number, text, (bucket, value), given["cell"], values)


def _attributes(bucket: str, value: str, given: dict[str, Any]) -> tuple[Any, ...]:
    subject_type, subject_id, source_type = (_number(given, name) for name in _NUMBERS)
    source_id, user_data = (_bytes(given, name) for name in _BYTES)
    if subject_type or subject_id or source_type or source_id or user_data:
        sent = (subject_type, subject_id, source_type, source_id or b"", user_data or b"")
        update.check((RecordSpec(bucket, value, *sent),), ())
    texts = (_text(given, name) for name in _TEXTS)
    return (*texts, subject_type, subject_id, source_type, source_id, user_data)


def _text(given: dict[str, Any], name: str) -> str | None:
    found = given.get(name)
    if found is not None and not (isinstance(found, str) and len(found) <= MAX_TEXT):
        raise Invalid(Problem(name, "no text or too long", f"at most {MAX_TEXT} characters"))
    if found is not None and not can_be_kept(found):
        raise Invalid(Problem(name, f"{found!r} has a NUL or a lone surrogate", "leave it out"))
    return found


def _number(given: dict[str, Any], name: str) -> int:
    found = given.get(name, 0)
    if type(found) is not int:
        raise Invalid(Problem(name, "no number", "a whole number"))
    return found


def _bytes(given: dict[str, Any], name: str) -> bytes | None:
    found = given.get(name)
    if found is None:
        return None
    try:
        return base64.b64decode(found, validate=True) or None
    except (binascii.Error, TypeError, ValueError) as error:
        raise Invalid(Problem(name, f"no base64: {error}", "encode the bytes")) from error


def _take(tx: Transaction, wanted: list[_Line]) -> tuple[int, int, list[Reject]]:
    """Insert what is free; tell what stands already as wanted from what is taken."""
    cells = {row.name: row for row in tx.connection.execute(select(schema.cells))}
    rejects: list[Reject] = []
    first: dict[_Key, _Line] = {}
    for line in wanted:
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
    made = insert_many(tx.connection, "claims", _COLUMNS, rows)
    present = 0
    if made < len(lines):
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
    return made, present, rejects


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


def _log(tx: Transaction, lines: list[_Line], ids: dict[str, int]) -> None:
    told = {
        name: {"cell_id": ids[name], "cell": name, "imported": True}
        for name in {line.cell for line in lines}
    }
    plain = {name: json.dumps(one) for name, one in told.items()}

    def after(line: _Line) -> str:
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


def export_claims(
    connection: Connection, after: _Key | None = None, limit: int | None = None
) -> Iterator[str]:
    """Claims as lines, in the order of keys, after one: to resume, the last line's.

    All of them, or up to ``limit`` (which the database then knows of, and reads no more).

    What a lease is creating is left out, as it may never be; what one is destroying still stands.
    """
    claims, cells = schema.claims.c, schema.cells.c
    query = (
        select(schema.claims, cells.name.label("cell"))
        .join(schema.cells, cells.id == claims.cell_id)
        # Written out: of a parameter PostgreSQL's generic plan supposes that it leaves nothing.
        .where(claims.status != literal_column(f"'{RecordStatus.CREATING}'"))
        .order_by(claims.bucket, claims.value)
        .execution_options(yield_per=BATCH_LINES)
    )
    if after is not None:
        # A comparison of rows: each engine starts at that place of the primary key.
        query = query.where(tuple_(claims.bucket, claims.value) > tuple_(*after))
    for row in connection.execute(query.limit(limit)):
        yield _written(row)


def last_key(line: str) -> _Key:
    """The key of an exported line, to resume after it; raises `Invalid`."""
    return _line(0, line).key


def _written(row: Row[Any]) -> str:
    value = row.value if row.spelling is None else row.spelling
    made: dict[str, Any] = {"bucket": row.bucket, "value": value, "cell": row.cell}
    for name in (*_TEXTS, *_NUMBERS):
        if getattr(row, name):
            made[name] = getattr(row, name)
    for name in _BYTES:
        if getattr(row, name):
            made[name] = base64.b64encode(getattr(row, name)).decode()
    return json.dumps(made, ensure_ascii=False) + "\n"
