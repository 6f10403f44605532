"""Turns a JWT of the issuer into the caller that it names, or into the reason why not.

Only the claims of a signed token count. What its header offers as a key (``jwk``, ``jku``, ``x5c``,
``x5u``) is not read, and a header that names critical extensions (``crit``) is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

import jwt

from control_plane.api.auth import Caller
from control_plane.api.oidc.key_source import FetchObserver, KeySource
from control_plane.api.oidc.keys import KeySet
from control_plane.api.oidc.provider import MAX_NAME, Provider
from control_plane.api.oidc.refusal import NOT_VALID, NoKeys, NoScope, OidcRefusal

MAX_TOKEN = 16 << 10
"""Bytes of a token."""
_KINDS = frozenset({"", "jwt", "at+jwt", "application/at+jwt"})
"""What ``typ`` may be. Others mark tokens that an issuer signs for another purpose, for example
``logout+jwt``, which has the same audience as a login."""
_EVENTS = "events"
"""The claim of security event tokens (RFC 8417), of which logout tokens are some."""
_REQUIRED = ["exp", "iss", "aud", "sub"]
_BROKEN = (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError, RecursionError)


class TokenObserver(FetchObserver, Protocol):
    """Counts tokens, for metrics."""

    def judged(self, outcome: str) -> None:
        """Record a token: ``accepted``, ``invalid``, ``no-scope`` or ``no-keys``."""


def is_jwt(token: str) -> bool:
    """Return whether a bearer token has the form of a signed JWT: three parts with dots between."""
    return token.count(".") == 2


class OidcVerifier:
    """Verifies the tokens of one issuer."""

    def __init__(self, provider: Provider, observer: TokenObserver) -> None:
        """Fetch no keys yet."""
        self._provider = provider
        self._observer = observer
        self._source = KeySource(provider, observer)

    async def prefetch(self) -> None:
        """Fetch the keys before the first token comes, so that the log soon tells what is wrong."""
        await self._source.keys(None)

    async def close(self) -> None:
        """End what is under way."""
        await self._source.close()

    async def caller_of(self, token: str) -> Caller:
        """Return the caller whom a token names.

        Raises:
            OidcRefusal: The token is not valid, gives no scope, or can't be verified now.
        """
        try:
            caller = await self._caller(token)
        except OidcRefusal as error:
            self._observer.judged(error.outcome)
            raise
        self._observer.judged("accepted")
        return caller

    async def _caller(self, token: str) -> Caller:
        key_id, algorithm = self._header(token)
        keys = await self._source.keys(key_id)
        if keys is None:
            raise NoKeys
        claims = self._claims(token, keys, key_id, algorithm)
        name = self._provider.name_of(claims)
        scope = self._provider.scope_of(claims)
        if scope is None:
            raise NoScope(name, self._provider.scope_claim)
        subject = f"{self._provider.issuer}\0{claims['sub']}"
        digest = hashlib.sha256(subject.encode("utf-8", "replace")).hexdigest()
        return Caller(f"oidc-{digest[:32]}", name, scope)

    def _header(self, token: str) -> tuple[str | None, str]:
        """Return the key's id and the algorithm that a token's header names."""
        if len(token) > MAX_TOKEN:
            raise OidcRefusal(f"the token is longer than {MAX_TOKEN} bytes")
        try:
            header = jwt.get_unverified_header(token)
        except _BROKEN as error:
            raise OidcRefusal(NOT_VALID) from error
        kind, algorithm = header.get("typ", ""), header.get("alg")
        refused = "crit" in header or "b64" in header or str(kind).lower() not in _KINDS
        if refused or not isinstance(algorithm, str) or algorithm not in self._provider.algorithms:
            raise OidcRefusal(NOT_VALID)
        return header.get("kid"), algorithm

    def _claims(
        self, token: str, keys: KeySet, key_id: str | None, algorithm: str
    ) -> Mapping[str, Any]:
        key = keys.key(key_id, algorithm)
        if key is None:
            raise OidcRefusal(NOT_VALID)
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._provider.audiences,
                issuer=self._provider.issuer,
                leeway=self._provider.clock_skew_s,
                options={"require": _REQUIRED, "enforce_minimum_key_length": True},
            )
        except _BROKEN as error:
            raise OidcRefusal(_reason(error)) from error
        if _EVENTS in claims or not 0 < len(claims["sub"]) <= MAX_NAME:
            raise OidcRefusal(NOT_VALID)
        return claims


def _reason(error: Exception) -> str:
    """Return what the client hears. All of these but the last are found after the signature."""
    if isinstance(error, jwt.ExpiredSignatureError):
        return "the token has expired"
    if isinstance(error, jwt.ImmatureSignatureError):
        return "the token is not valid yet"
    if isinstance(error, jwt.InvalidAudienceError):
        return "the token is for another audience"
    if isinstance(error, jwt.InvalidIssuerError):
        return "the token is of another issuer"
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"the token has no claim {error.claim!r}"
    return NOT_VALID
