"""Keeps every version of every ruleset; at most one is active."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select, update

from control_plane.names import MAX_DOCUMENT_BYTES
from control_plane.topology.storage import schema
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.change import Ruleset
from control_plane.topology.values.claim_key import can_be_kept
from control_plane.topology.values.errors import Invalid, NotFound, Problem, StaleVersion

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?\Z")
_T = schema.rulesets


def _ruleset(row: Row[Any]) -> Ruleset:
    return Ruleset(
        row.name,
        row.version,
        row.document,
        bool(row.active),
        row.revision,
        row.created_at,
        row.author,
    )


def _one(connection: Connection, query: Select[Any]) -> Ruleset | None:
    row = connection.execute(query.limit(1)).one_or_none()
    return None if row is None else _ruleset(row)


def active(connection: Connection) -> Ruleset | None:
    """The active version, if there is one."""
    return _one(connection, select(_T).where(_T.c.active))


def newest(connection: Connection, name: str) -> Ruleset | None:
    """The newest version under this name."""
    return _one(connection, select(_T).where(_T.c.name == name).order_by(_T.c.version.desc()))


def get(connection: Connection, name: str, version: int | None = None) -> Ruleset:
    """A version (the newest by default); raises `NotFound`."""
    if version is None:
        found = newest(connection, name)
    else:
        found = _one(connection, select(_T).where(_T.c.name == name, _T.c.version == version))
    if found is None:
        raise NotFound("ruleset", name if version is None else f"{name}@{version}")
    return found


def versions(connection: Connection, name: str | None = None) -> list[Ruleset]:
    """Every version, oldest first."""
    query = select(_T).order_by(_T.c.name, _T.c.version)
    if name is not None:
        query = query.where(_T.c.name == name)
    return [_ruleset(row) for row in connection.execute(query)]


def put(tx: Transaction, name: str, document: str, expected: int | None) -> Ruleset:
    """Keep a new version, not active; the same text as the newest is not kept twice."""
    if not _NAME.match(name):
        raise Invalid(Problem("name", f"{name!r} is no name", "1 to 64 of a-z, 0-9, _ and -"))
    if not can_be_kept(document):
        raise Invalid(Problem("document", "it has a lone surrogate", "write whole characters"))
    if len(document.encode()) > MAX_DOCUMENT_BYTES:
        mend = f"keep it under {MAX_DOCUMENT_BYTES} bytes"
        raise Invalid(Problem("document", "too large", mend))
    last = newest(tx.connection, name)
    version = last.version if last else 0
    if expected is not None and expected != version:
        raise StaleVersion("ruleset", name, expected, version)
    if last is not None and last.document == document:
        return last
    made = Ruleset(name, version + 1, document, False, tx.revision, tx.at, tx.actor)
    tx.connection.execute(
        insert(_T).values(
            name=name,
            version=made.version,
            document=document,
            active=False,
            revision=tx.revision,
            created_at=tx.at,
            author=tx.actor,
        )
    )
    tx.log("ruleset", "create", f"{name}@{made.version}", None, {"version": made.version})
    return made


def activate(tx: Transaction, name: str, version: int, expected: tuple[str, int] | None) -> Ruleset:
    """Make this version the one that routes; raises `StaleVersion` if another was expected."""
    wanted = get(tx.connection, name, version)
    current = active(tx.connection)
    actual = (current.name, current.version) if current else ("", 0)
    if expected is not None and expected != actual:
        raise StaleVersion("active ruleset", name, expected, actual)
    if wanted.active:
        return wanted
    tx.connection.execute(update(_T).where(_T.c.active).values(active=False))
    tx.connection.execute(
        update(_T).where(_T.c.name == name, _T.c.version == version).values(active=True)
    )
    tx.touch_edge(answers=True)
    before = {"name": actual[0], "version": actual[1]} if current else None
    after = {"name": name, "version": version}
    tx.log("ruleset", "activate", f"{name}@{version}", before, after)
    return get(tx.connection, name, version)
