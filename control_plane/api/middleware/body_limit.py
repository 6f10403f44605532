"""Refuses bodies that are too large (413), and hands all others on as one message."""

from __future__ import annotations

import asyncio

from control_plane.api.middleware.asgi import (
    App,
    Message,
    Receive,
    Send,
    header,
    is_write,
    replayed,
)
from control_plane.api.problem import problem

MAX_BODY_BYTES = 2 << 20
MAX_JSON_VALUES = 100_000
"""Commas, colons and opening brackets of a body. The bytes alone don't say how long it takes to
read: 2 MiB of ``[0],`` are half a million lists, 250 ms in which nothing else runs; so many are
20 ms. A topology of 2,000 cells has half as many."""
_NO_JSON = frozenset({"/v1/claims/import"})
"""Paths whose bodies are not read at once."""
MAX_DISCARDED_BYTES = 32 << 20
MAX_DISCARD_S = 5.0


class BodyLimit:
    """ASGI middleware that reads the body of a write. The app inside gets it in one message."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if not is_write(scope):
            await self._app(scope, receive, send)
            return
        try:
            body = await _read(header(scope, b"content-length", b"0"), receive)
        except _ClientLeft:
            # Half a body must not be taken for a complete one.
            return
        if body is not None and scope["path"] not in _NO_JSON and _values(body) > MAX_JSON_VALUES:
            detail = f"the body has more than {MAX_JSON_VALUES} values; send less at a time"
            answer = problem(413, detail, code="too-large", limit=MAX_JSON_VALUES)
            await answer(scope, receive, send)
            return
        if body is not None:
            await self._app(scope, replayed(body, receive), send)
            return
        await _discard(receive)
        detail = f"the body is larger than {MAX_BODY_BYTES} bytes; send less at a time"
        answer = problem(413, detail, code="too-large", limit=MAX_BODY_BYTES)
        # The rest of the body, which was not read, would be taken for the next request.
        answer.headers["connection"] = "close"
        await answer(scope, receive, send)


def _values(body: bytes) -> int:
    """Return how many values a JSON text has, or a few more; those in strings count, too."""
    return sum(map(body.count, (b",", b":", b"[", b"{")))


async def _discard(receive: Receive) -> None:
    """Read the rest of a body and forget it, within bounds.

    To close the connection on unread bytes would reset it, and the client might never see the
    answer.
    """
    left = MAX_DISCARDED_BYTES
    try:
        async with asyncio.timeout(MAX_DISCARD_S):
            more = True
            while more and left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                more = message["type"] == "http.request" and message.get("more_body", False)
    except TimeoutError:
        return


class _ClientLeft(Exception):
    """The client went away before its body was complete."""


async def _read(length: bytes, receive: Receive) -> bytes | None:
    """Return the body, or None if it or its announced length is over the limit.

    Raises:
        _ClientLeft: The client went away before the end.
    """
    if not length.isdigit() or int(length) > MAX_BODY_BYTES:
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientLeft
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)
