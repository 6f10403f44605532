"""What every request passes before a handler: size, token, and repeated writes."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.concurrency import run_in_threadpool

from control_plane.api.auth import CALLER, OPEN_PATHS, Caller
from control_plane.api.middleware.idempotency import OncePerKey
from control_plane.api.problem import problem, topology_problem
from control_plane.topology import Scope, Topology
from control_plane.topology.tokens import PREFIX
from control_plane.topology.values.errors import TopologyError

MAX_BODY_BYTES = 2 << 20
MAX_DISCARDED_BYTES = 32 << 20
MAX_DISCARD_S = 5.0
_SCHEME = b"bearer "
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_ANYBODY = Caller("", "anybody", Scope.ADMIN)
_BOOTSTRAP = Caller("", "the configured token", Scope.ADMIN)
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Guard:
    """ASGI middleware: 413 for large bodies, 401 without the token, replays for repeated keys."""

    def __init__(self, app: App, topology: Topology, token: str | None) -> None:
        self._app = app
        self._topology = topology
        self._token = token
        self._once = OncePerKey(topology)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        try:
            caller = await self._caller(scope["path"], headers)
        except TopologyError as error:
            await topology_problem(error)(scope, receive, send)
            return
        if caller is None:
            answer = problem(401, "send Authorization: Bearer <token>", code="unauthenticated")
            answer.headers["www-authenticate"] = "Bearer"
            await answer(scope, receive, send)
            return
        scope[CALLER] = caller
        if scope["method"] not in _WRITES:
            await self._app(scope, receive, send)
            return
        try:
            body = await _read(headers, receive)
        except _ClientLeft:
            # Half a body must not be taken for a whole one.
            return
        if body is None:
            await _discard(receive)
            detail = f"the body is larger than {MAX_BODY_BYTES} bytes; send less at a time"
            answer = problem(413, detail, code="too-large", limit=MAX_BODY_BYTES)
            # What was not read of the body can't be told from a next request.
            answer.headers["connection"] = "close"
            await answer(scope, receive, send)
            return
        key = headers.get(b"idempotency-key", b"").decode("latin-1")
        if key:

            async def carry(answer: Send) -> None:
                await self._app(scope, _replay(body, receive), answer)

            parts = (scope["method"].encode(), scope["raw_path"], scope["query_string"], body)
            request = b"\0".join(parts)
            try:
                await self._once.carry_out(key, caller.id, request, carry, send)
            except TopologyError as error:
                await topology_problem(error)(scope, receive, send)
        else:
            await self._app(scope, _replay(body, receive), send)

    async def _caller(self, path: str, headers: dict[bytes, bytes]) -> Caller | None:
        """Who asks; None for a stranger. Without a configured token everybody may everything."""
        given = headers.get(b"authorization", b"")
        presented = given[len(_SCHEME) :].strip() if given[:7].lower() == _SCHEME else b""
        if path in OPEN_PATHS:
            return _ANYBODY
        if self._token is not None and hmac.compare_digest(presented, self._token.encode()):
            return _BOOTSTRAP
        text = presented.decode("latin-1")
        if text.startswith(PREFIX):
            token = await run_in_threadpool(self._topology.tokens.verify, text)
            return None if token is None else Caller(token.id, token.name, token.scope)
        return _ANYBODY if self._token is None else None


async def _discard(receive: Receive) -> None:
    """Let the client finish, within bounds: closing on unread bytes would reset the connection, and
    the client might never see the answer.
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


async def _read(headers: dict[bytes, bytes], receive: Receive) -> bytes | None:
    """The body, or None if it is over the limit; raises `_ClientLeft`."""
    length = headers.get(b"content-length", b"0")
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


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return again
