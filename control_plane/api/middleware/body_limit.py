"""Refuses bodies that are too large (413), and hands all others on as one message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastapi.responses import JSONResponse

from control_plane.api.auth import CALLER
from control_plane.api.middleware.asgi import (
    App,
    Message,
    Receive,
    Send,
    header,
    is_write,
    replayed,
)
from control_plane.api.middleware.held_bodies import HeldBodies, HeldBody, TooManyBytes
from control_plane.api.problem import problem

MAX_BODY_BYTES = 2 << 20
MAX_JSON_VALUES = 100_000
"""Commas, colons and opening brackets of a body. The bytes alone don't say how long it takes to
read: 2 MiB of ``[0],`` are half a million lists, 250 ms in which nothing else runs; so many are
20 ms. A topology of 2,000 cells has half as many."""
_NO_JSON = frozenset({"/v1/claims/import", "/v1/simulate"})
"""Paths whose bodies are not read at once."""
MAX_DISCARDED_BYTES = 32 << 20
MAX_DISCARD_S = 5.0


class BodyLimit:
    """ASGI middleware that reads the body of a write. The app inside gets it in one message."""

    def __init__(self, app: App, refused: Callable[[str], None] = lambda _: None) -> None:
        self._app = app
        self._refused = refused
        self._held = HeldBodies()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if not is_write(scope):
            await self._app(scope, receive, send)
            return
        with self._held.of(_holder(scope)) as held:
            try:
                body = await _read(header(scope, b"content-length", b"0"), receive, held)
            except _ClientLeft:
                # Half a body must not be taken for a complete one.
                return
            except TooManyBytes as error:
                answer = problem(503, f"{error} are under way: try again later", code="busy")
                answer.headers["retry-after"] = "1"
                await self._refuse(answer, "too-many-body-bytes", scope, receive, send)
                return
            if body is None:
                await self._refuse(_too_large(), "too-large", scope, receive, send)
            elif scope["path"] not in _NO_JSON and _values(body) > MAX_JSON_VALUES:
                self._refused("too-large")
                await _too_many_values()(scope, receive, send)
            else:
                await self._app(scope, replayed(body, receive), send)

    async def _refuse(
        self, answer: JSONResponse, why: str, scope: Message, receive: Receive, send: Send
    ) -> None:
        """Answer a request whose body was not read to its end."""
        self._refused(why)
        await _discard(receive)
        # The rest of the body, which was not read, would be taken for the next request.
        answer.headers["connection"] = "close"
        await answer(scope, receive, send)


def _holder(scope: Message) -> str:
    """Return who holds a body: the caller's token, or where the connection comes from."""
    caller = scope.get(CALLER)
    if caller is not None and caller.id:
        return str(caller.id)
    return str(scope["client"][0]) if scope.get("client") else ""


def _too_large() -> JSONResponse:
    detail = f"the body is larger than {MAX_BODY_BYTES} bytes; send less at a time"
    return problem(413, detail, code="too-large", limit=MAX_BODY_BYTES)


def _too_many_values() -> JSONResponse:
    detail = f"the body has more than {MAX_JSON_VALUES} values; send less at a time"
    return problem(413, detail, code="too-large", limit=MAX_JSON_VALUES)


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


async def _read(length: bytes, receive: Receive, held: HeldBody) -> bytes | None:
    """Return the body, or None if it or its announced length is over the limit.

    Raises:
        _ClientLeft: The client went away before the end.
        TooManyBytes: Too much is held already.
    """
    if not length.isdigit() or int(length) > MAX_BODY_BYTES:
        return None
    held.at_least(int(length))
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientLeft
        body += message.get("body", b"")
        held.at_least(len(body))
        if len(body) > MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)
