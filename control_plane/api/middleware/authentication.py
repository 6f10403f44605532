"""Finds out who sends a request, by its bearer token, and refuses strangers."""

from __future__ import annotations

import hmac

from starlette.concurrency import run_in_threadpool

from control_plane.api.auth import CALLER, OPEN_PATHS, Caller
from control_plane.api.middleware.asgi import App, Message, Receive, Send, header
from control_plane.api.oidc.refusal import OidcRefusal
from control_plane.api.oidc.verifier import OidcVerifier, is_jwt
from control_plane.api.problem import problem, topology_problem
from control_plane.topology import Scope, Topology
from control_plane.topology.tokens import PREFIX
from control_plane.topology.values.errors import TopologyError

_SCHEME = b"bearer "
_ANYBODY = Caller("", "anybody", Scope.ADMIN)
_BOOTSTRAP = Caller("", "the configured token", Scope.ADMIN)


class Authentication:
    """ASGI middleware that puts the `Caller` into the scope, or answers 401.

    A token is the configured one, which has every scope, one of the topology's, or a JWT of the
    OpenID Connect issuer.
    """

    def __init__(
        self, app: App, topology: Topology, token: str | None, oidc: OidcVerifier | None = None
    ) -> None:
        self._app = app
        self._topology = topology
        self._token = None if token is None else token.encode()
        self._oidc = oidc

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._caller(scope)
        except TopologyError as error:
            await topology_problem(error)(scope, receive, send)
            return
        except OidcRefusal as error:
            await error.answer()(scope, receive, send)
            return
        if caller is None:
            answer = problem(401, "send Authorization: Bearer <token>", code="unauthenticated")
            answer.headers["www-authenticate"] = "Bearer"
            await answer(scope, receive, send)
            return
        scope[CALLER] = caller
        await self._app(scope, receive, send)

    async def _caller(self, scope: Message) -> Caller | None:
        """Return the caller, or None if the token is missing or wrong.

        If neither a token nor OIDC is configured, every caller without a token is an admin.

        Raises:
            OidcRefusal: The token is a JWT that gives no access.
        """
        if scope["path"] in OPEN_PATHS:
            return _ANYBODY
        token = _bearer_token(header(scope, b"authorization"))
        if self._token is not None and hmac.compare_digest(token, self._token):
            return _BOOTSTRAP
        text = token.decode("latin-1")
        if text.startswith(PREFIX):
            stored = await run_in_threadpool(self._topology.tokens.verify, text)
            return None if stored is None else Caller(stored.id, stored.name, stored.scope)
        if self._oidc is not None:
            return await self._oidc.caller_of(text) if is_jwt(text) else None
        return _ANYBODY if self._token is None else None


def _bearer_token(authorization: bytes) -> bytes:
    """Return the token of an Authorization header; empty if it is of another scheme."""
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        return b""
    return authorization[len(_SCHEME) :].strip()
