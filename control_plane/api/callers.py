"""Turns a request's credentials into the caller. No other module reads the header Authorization."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from control_plane.api.auth import Caller
from control_plane.api.oidc.refusal import OidcRefusal
from control_plane.api.oidc.verifier import OidcVerifier, is_jwt
from control_plane.topology import Scope, Topology
from control_plane.topology.tokens import PREFIX, RESERVED_NAME
from control_plane.topology.values.errors import TopologyError

RECHECK_S = 1.0
"""How often the credentials of a long request are checked again."""
_SCHEME = b"bearer "
_CONFIGURED = Caller("", RESERVED_NAME, Scope.ADMIN)
"""An admin by configuration: the holder of the configured token, or anybody if there is none."""


class Callers:
    """Tells who sends a request.

    A token is the configured one, which has every scope, one of the topology's, or a JWT of the
    OpenID Connect issuer.
    """

    def __init__(
        self, topology: Topology, token: str | None, oidc: OidcVerifier | None = None
    ) -> None:
        """Know the tokens that callers may show.

        Args:
            topology: Knows its own tokens.
            token: The configured one. With it or with ``oidc``, every caller needs a token.
            oidc: Verifies JWTs.

        Raises:
            ValueError: The token is empty: everybody would have it.
        """
        if token == "":
            raise ValueError("the API's token is empty")
        self._topology = topology
        self._token = None if token is None else token.encode()
        self._oidc = oidc

    @property
    def admits_strangers(self) -> bool:
        """Whether a caller without credentials is an admin."""
        return self._token is None and self._oidc is None

    async def caller_of(self, authorization: bytes) -> Caller | None:
        """Return whom the value of Authorization names now; None if it is missing or wrong.

        The answer may change from call to call, because tokens are revoked and expire.

        Raises:
            TopologyError: The tokens can't be read.
            OidcRefusal: The token is a JWT that gives no access.
        """
        token = _bearer_token(authorization)
        if self._token is not None and hmac.compare_digest(token, self._token):
            return _CONFIGURED
        text = token.decode("latin-1")
        if text.startswith(PREFIX):
            stored = await run_in_threadpool(self._topology.tokens.verify, text)
            return None if stored is None else Caller(stored.id, stored.name, stored.scope)
        if self._oidc is not None and is_jwt(text):
            return await self._oidc.caller_of(text)
        return _CONFIGURED if self.admits_strangers else None


@dataclass(frozen=True, slots=True)
class Admission:
    """The credentials of a request that goes on for long; they may lose their worth meanwhile."""

    callers: Callers
    authorization: bytes

    async def holds(self) -> bool:
        """Return whether they still name a caller.

        Raises:
            TopologyError: The tokens can't be read.
        """
        try:
            return await self.callers.caller_of(self.authorization) is not None
        except OidcRefusal:
            return False

    async def ended(self) -> None:
        """Return once they name no caller any more. While tokens can't be read, go on waiting."""
        while True:
            await asyncio.sleep(RECHECK_S)
            with contextlib.suppress(TopologyError):
                if not await self.holds():
                    return


def _bearer_token(authorization: bytes) -> bytes:
    """Return the token of an Authorization header; empty if it is of another scheme."""
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        return b""
    return authorization[len(_SCHEME) :].strip()
