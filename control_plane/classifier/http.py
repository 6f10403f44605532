"""ext_authz over HTTP: a bare ASGI app, because this is the hot path.

Envoy sends the client's method, path and the headers that the ruleset uses; the answer is always
200 with the decision in headers. Any other answer means that the classifier could not decide.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from control_plane.classifier.answer import Observer, answer_headers
from control_plane.classifier.view import LiveView, NoRuleset
from control_plane.routing.model import Request

log = logging.getLogger(__name__)
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_EMPTY: Message = {"type": "http.response.body", "body": b""}


def http_app(
    view: LiveView, observer: Observer
) -> Callable[[Message, Receive, Send], Awaitable[None]]:
    """The ASGI app over a view."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI
        if scope["type"] != "http":
            raise ValueError(f"{scope['type']} is not served here")
        started = time.perf_counter()
        try:
            decision = view.decide(request_of(scope))
        except NoRuleset:
            await _reply(send, 503, [(b"x-cellway-error", b"no ruleset is active")])
            return
        headers = [(name.encode(), value.encode()) for name, value in answer_headers(decision)]
        await _reply(send, 200, headers)
        observer.classified(decision, time.perf_counter() - started)

    return app


def request_of(scope: Message) -> Request:
    """The request that Envoy asks about."""
    authority = b""
    headers: list[tuple[str, bytes]] = []
    for name, value in scope["headers"]:
        if name == b"host":
            authority = value
        else:
            headers.append((name.decode("latin-1"), value))
    query: bytes = scope["query_string"]
    path: bytes = scope["raw_path"]
    return Request(
        scope["method"], authority, path + b"?" + query if query else path, tuple(headers)
    )


async def _reply(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", b"0")],
        }
    )
    await send(_EMPTY)
