"""Finds out who sends a request, and refuses strangers before their bodies are read."""

from __future__ import annotations

from collections.abc import Callable

from control_plane.api.auth import CALLER, is_open
from control_plane.api.callers import Callers
from control_plane.api.middleware.asgi import App, Message, Receive, Send, values_of
from control_plane.api.oidc.refusal import OidcRefusal
from control_plane.api.problem import problem, topology_problem
from control_plane.topology.values.errors import TopologyError


class Authentication:
    """ASGI middleware that puts the `Caller` into the scope, or answers 401.

    A request that needs no credentials has no caller.
    """

    def __init__(self, app: App, callers: Callers, refused: Callable[[str], None]) -> None:
        """Wrap an app; ``refused`` is told the code of each refusal."""
        self._app = app
        self._refused = refused
        self._callers = callers

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or is_open(scope):
            await self._app(scope, receive, send)
            return
        sent = values_of(scope, b"authorization")
        try:
            # Of several headers, a proxy before us may have checked another one than we would.
            caller = await self._callers.caller_of(b"".join(sent)) if len(sent) < 2 else None
        except TopologyError as error:
            await topology_problem(error)(scope, receive, send)
            return
        except OidcRefusal as error:
            await error.answer()(scope, receive, send)
            return
        if caller is None:
            self._refused("unauthenticated")
            answer = problem(401, _what_is_missing(sent), code="unauthenticated")
            answer.headers["www-authenticate"] = "Bearer"
            await answer(scope, receive, send)
            return
        scope[CALLER] = caller
        await self._app(scope, receive, send)


def _what_is_missing(sent: list[bytes]) -> str:
    """Return what a stranger is told, who sent these values of Authorization."""
    if len(sent) > 1:
        return "there are several headers Authorization: send one"
    if sent and sent[0][:7].lower() == b"bearer ":
        return (
            "the token is not known here: it is mistyped, revoked or expired, or of another server"
        )
    return "send Authorization: Bearer <token>"
