"""Rulesets: every version of each is stored, and at most one version of all is active."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select, update

from control_plane.names import MAX_DOCUMENT_BYTES
from control_plane.topology.storage import Store, Transaction, schema
from control_plane.topology.values import (
    Invalid,
    NotFound,
    Problem,
    Ruleset,
    StaleVersion,
    Written,
    is_storable,
)

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?\Z")
_T = schema.rulesets


class Rulesets:
    """Reads, stores and activates rulesets; each method is one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(
        self,
        name: str,
        document: str,
        *,
        actor: str,
        expected_version: int | None = None,
        dry_run: bool = False,
    ) -> Written[Ruleset]:
        """Store a document as a new version, which is not active.

        If the newest version has this document already, nothing changes. The caller has checked
        that the document is a valid ruleset.

        Raises:
            Invalid: a malformed name, or a document that is too large.
            StaleVersion: the newest version is not the expected one (0: there is none).
        """
        return self._store.written(
            actor, lambda tx: put(tx, name, document, expected_version), dry_run=dry_run
        )

    def activate(
        self,
        name: str,
        version: int,
        *,
        actor: str,
        expected_active: tuple[str, int] | None = None,
        dry_run: bool = False,
    ) -> Written[Ruleset]:
        """Make a version the active one, by which requests are routed.

        Raises:
            NotFound: there is no such version.
            StaleVersion: another version is active than the expected one (``("", 0)``: none is).
        """
        return self._store.written(
            actor, lambda tx: activate(tx, name, version, expected_active), dry_run=dry_run
        )

    def active(self) -> Ruleset | None:
        """Return the active version, if there is one."""
        with self._store.read() as connection:
            return active(connection)

    def get(self, name: str, version: int | None = None) -> Ruleset:
        """Return a version, the newest by default; raise `NotFound` if there is none."""
        with self._store.read() as connection:
            return get(connection, name, version)

    def versions(self, name: str | None = None) -> list[Ruleset]:
        """Return every version of one ruleset or of all, ordered by name and version."""
        query = select(_T).order_by(_T.c.name, _T.c.version)
        if name is not None:
            query = query.where(_T.c.name == name)
        with self._store.read() as connection:
            return [_ruleset(row) for row in connection.execute(query)]


def active(connection: Connection) -> Ruleset | None:
    """Return the active version, if there is one."""
    return _one(connection, select(_T).where(_T.c.active))


def newest(connection: Connection, name: str) -> Ruleset | None:
    """Return the newest version under this name."""
    return _one(connection, select(_T).where(_T.c.name == name).order_by(_T.c.version.desc()))


def put(tx: Transaction, name: str, document: str, expected: int | None) -> Ruleset:
    """Store a new version, not active, unless the newest one has this document already."""
    _check(name, document)
    last = newest(tx.connection, name)
    version = last.version if last else 0
    if expected is not None and expected != version:
        raise StaleVersion("ruleset", name, expected, version)
    if last is not None and last.document == document:
        return last
    ruleset = Ruleset(name, version + 1, document, False, tx.revision, tx.at, tx.actor)
    tx.connection.execute(
        insert(_T).values(
            name=name,
            version=ruleset.version,
            document=document,
            active=False,
            revision=tx.revision,
            created_at=tx.at,
            author=tx.actor,
        )
    )
    tx.log("ruleset", "create", f"{name}@{ruleset.version}", None, {"version": ruleset.version})
    return ruleset


def _check(name: str, document: str) -> None:
    if not _NAME.match(name):
        raise Invalid(Problem("name", f"{name!r} is no name", "1 to 64 of a-z, 0-9, _ and -"))
    if not is_storable(document):
        raise Invalid(Problem("document", "it has a lone surrogate", "write whole characters"))
    if len(document.encode()) > MAX_DOCUMENT_BYTES:
        hint = f"keep it under {MAX_DOCUMENT_BYTES} bytes"
        raise Invalid(Problem("document", "too large", hint))


def activate(tx: Transaction, name: str, version: int, expected: tuple[str, int] | None) -> Ruleset:
    """Make a version the active one; raise `StaleVersion` if another was expected."""
    ruleset = get(tx.connection, name, version)
    current = active(tx.connection)
    actual = (current.name, current.version) if current else ("", 0)
    if expected is not None and expected != actual:
        raise StaleVersion("active ruleset", name, expected, actual)
    if ruleset.active:
        return ruleset
    tx.connection.execute(update(_T).where(_T.c.active).values(active=False))
    tx.connection.execute(
        update(_T).where(_T.c.name == name, _T.c.version == version).values(active=True)
    )
    tx.touch_edge(answers=True)
    before = {"name": actual[0], "version": actual[1]} if current else None
    after = {"name": name, "version": version}
    tx.log("ruleset", "activate", f"{name}@{version}", before, after)
    return get(tx.connection, name, version)


def get(connection: Connection, name: str, version: int | None = None) -> Ruleset:
    """Return a version, the newest by default; raise `NotFound` if there is none."""
    if version is None:
        ruleset = newest(connection, name)
    else:
        ruleset = _one(connection, select(_T).where(_T.c.name == name, _T.c.version == version))
    if ruleset is None:
        raise NotFound("ruleset", name if version is None else f"{name}@{version}")
    return ruleset


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
