"""Answers HEAD wherever there is GET, and OPTIONS everywhere with the methods that there are.

FastAPI serves a GET operation for GET alone, and says in ``Allow`` only what the first operation of
a path takes. For example ``/v1/cells`` has GET and POST, and each is a route of its own::

    OPTIONS /v1/cells                204, Allow: GET, HEAD, OPTIONS, POST
    DELETE /v1/cells                 405, with the same Allow
    HEAD /v1/cells                   the head of GET's answer
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response
from starlette.routing import BaseRoute

from control_plane.api.allowed_methods import allowed_methods
from control_plane.api.middleware.asgi import App, Message, Receive, Send


class Methods:
    """ASGI middleware that handles HEAD and OPTIONS by the routes of the app inside."""

    def __init__(self, app: App, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request."""
        method = scope["method"] if scope["type"] == "http" else ""
        if method == "OPTIONS" and (methods := allowed_methods(self._routes, scope)):
            answer = Response(status_code=204, headers={"allow": ", ".join(methods)})
            await answer(scope, receive, send)
        elif method == "HEAD":
            await self._app({**scope, "method": "GET"}, receive, _head_only(send))
        else:
            await self._app(scope, receive, send)


def _head_only(send: Send) -> Send:
    """Return a ``send`` that ends the answer after its head; a stream would never end."""

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b""})

    return send_head
