"""API tokens: only a hash of the secret is stored, and the secret is shown once."""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from control_plane.topology.storage import Store, Transaction, clock, moment, schema
from control_plane.topology.values import AlreadyExists, Invalid, NotFound, Problem, Written

PREFIX = "cw_"
"""By this prefix, scanners for leaked secrets recognise a token."""
RESERVED_NAME = "api"
"""The audit's name of callers that are admins by configuration. No token gets it."""
MAX_LIFE = timedelta(days=3650)
MAX_TOKENS = 10_000
_SECRET_BYTES = 32
_SHAPE = re.compile(r"cw_([0-9a-f]{16})_([A-Za-z0-9_-]{43})\Z")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?\Z")
_NOBODY = "0" * 64
_T = schema.tokens


class Scope(enum.StrEnum):
    """What a caller may do; each scope includes those before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: Scope) -> bool:
        """Return whether a caller with this scope may do what needs the other."""
        order = list(Scope)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Token:
    """Who may do what, and until when; times are by the database's clock."""

    id: str
    name: str
    scope: Scope
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None

    def valid(self, now: datetime) -> bool:
        """Return whether the token is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain JSON types, without anything secret."""
        return {
            "id": self.id,
            "name": self.name,
            "scope": str(self.scope),
            "created_at": self.created_at.isoformat(),
            "created_by": self.created_by,
            "expires_at": self.expires_at.isoformat() if self.expires_at else None,
            "revoked_at": self.revoked_at.isoformat() if self.revoked_at else None,
        }


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token and its secret, which is stored nowhere."""

    token: Token
    secret: str

    def __repr__(self) -> str:
        return f"NewToken({self.token!r}, secret=...)"


class Tokens:
    """Creates, revokes and verifies tokens; each method is one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(
        self,
        name: str,
        scope: Scope,
        *,
        actor: str,
        life: timedelta | None = None,
        dry_run: bool = False,
    ) -> Written[NewToken]:
        """Create a token that is valid for ``life``, or until it is revoked.

        Raises:
            Invalid: a malformed name or life, or there are too many tokens.
            AlreadyExists: a valid token has that name.
        """
        return self._store.written(
            actor, lambda tx: _create(tx, name, scope, life), dry_run=dry_run
        )

    def revoke(self, token: str, *, actor: str, dry_run: bool = False) -> Written[Token]:
        """Revoke a token, by its id or the name of a valid one; repeating it changes nothing.

        Raises:
            NotFound: there is no such token.
        """
        return self._store.written(actor, lambda tx: _revoke(tx, token), dry_run=dry_run)

    def all(self) -> list[Token]:
        """Return every token that there ever was, the oldest first."""
        query = select(_T).order_by(_T.c.created_at, _T.c.id)
        with self._store.read() as connection:
            return [_token(row) for row in connection.execute(query)]

    def verify(self, secret: str) -> Token | None:
        """Return the token with this secret, if it is valid now."""
        shape = _SHAPE.match(secret)
        if shape is None:
            return None
        with self._store.read() as connection:
            row = connection.execute(select(_T).where(_T.c.id == shape[1])).one_or_none()
            now = clock(connection)
        # The hashes are compared even if there is no such token, so that the time of an answer
        # does not tell which ids exist.
        same = hmac.compare_digest(_hash(shape[2]), _NOBODY if row is None else row.hash)
        if row is None or not same:
            return None
        token = _token(row)
        return token if token.valid(now) else None


def _hash(secret: str) -> str:
    # The secret has 256 random bits: there is nothing to guess that a slow hash would hinder.
    return hashlib.sha256(secret.encode()).hexdigest()


def _create(tx: Transaction, name: str, scope: Scope, life: timedelta | None) -> NewToken:
    if not _NAME.match(name):
        hint = "1 to 63 of a-z, 0-9, ., _ and -"
        raise Invalid(Problem("name", f"{name!r} is no name", hint))
    if name == RESERVED_NAME:
        text = f"{name} is how the audit names admins by configuration"
        raise Invalid(Problem("name", text, "choose another name"))
    if life is not None and not timedelta(0) < life <= MAX_LIFE:
        raise Invalid(Problem("expires_in_s", "out of range", f"up to {MAX_LIFE.days} days"))
    now = clock(tx.connection)
    rows = tx.connection.execute(select(_T)).all()
    if len(rows) >= MAX_TOKENS:
        raise Invalid(Problem("tokens", f"there are {MAX_TOKENS} already", "use one of them"))
    same = [row.id for row in rows if row.name == name and _token(row).valid(now)]
    if same:
        raise AlreadyExists("token name", ((name, same[0]),))
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    expires = None if life is None else now + life
    token = Token(secrets.token_hex(8), name, scope, now, tx.actor, expires, None)
    columns = {key: getattr(token, key) for key in Token.__slots__}
    tx.connection.execute(insert(_T).values(**columns | {"scope": str(scope)}, hash=_hash(secret)))
    tx.log("token", "create", name, None, token.as_dict())
    return NewToken(token, f"{PREFIX}{token.id}_{secret}")


def _revoke(tx: Transaction, name_or_id: str) -> Token:
    now = clock(tx.connection)
    before = _find(tx.connection, name_or_id, now)
    if before.revoked_at is not None:
        return before
    tx.connection.execute(update(_T).where(_T.c.id == before.id).values(revoked_at=now))
    after = _find(tx.connection, before.id, now)
    tx.log("token", "revoke", before.name, before.as_dict(), after.as_dict())
    return after


def _find(connection: Connection, name_or_id: str, now: datetime) -> Token:
    for row in connection.execute(select(_T)).all():
        token = _token(row)
        if token.id == name_or_id or (token.name == name_or_id and token.valid(now)):
            return token
    raise NotFound("token", name_or_id)


def _token(row: Row[Any]) -> Token:
    return Token(
        row.id,
        row.name,
        Scope(row.scope),
        moment(row.created_at),
        row.created_by,
        moment(row.expires_at) if row.expires_at else None,
        moment(row.revoked_at) if row.revoked_at else None,
    )
