"""Turns a request's credentials into the caller. No other module reads the header Authorization."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from control_plane.api.auth import Caller
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

    A token is the configured one, which has every scope, or one of the topology's.
    """

    def __init__(self, topology: Topology, token: str | None) -> None:
        """With ``token``, every caller needs a token: this one or one of the topology's.

        Raises:
            ValueError: The token is empty: everybody would have it.
        """
        if token == "":
            raise ValueError("the API's token is empty")
        self._topology = topology
        self._token = None if token is None else token.encode()

    @property
    def admits_strangers(self) -> bool:
        """Whether a caller without credentials is an admin."""
        return self._token is None

    async def caller_of(self, authorization: bytes) -> Caller | None:
        """Return whom the value of Authorization names now; None if it is missing or wrong.

        The answer may change from call to call, because tokens are revoked and expire.

        Raises:
            TopologyError: The tokens can't be read.
        """
        token = _bearer_token(authorization)
        if self._token is not None and hmac.compare_digest(token, self._token):
            return _CONFIGURED
        text = token.decode("latin-1")
        if text.startswith(PREFIX):
            stored = await run_in_threadpool(self._topology.tokens.verify, text)
            return None if stored is None else Caller(stored.id, stored.name, stored.scope)
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
        return await self.callers.caller_of(self.authorization) is not None

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
