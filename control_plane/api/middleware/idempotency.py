"""Carries a write out once per ``Idempotency-Key``, whichever replica it goes to.

The problem: a client that gets no answer to a write sends it again, perhaps to another replica and
perhaps while the first attempt is still under way. A range of ids must not be allotted twice for
that.

The idea: the key is stored in the transaction of the request's first write (see
`topology.storage.idempotency`), so that of several attempts only one writes. The handler's response
is held back until it is stored too; only then does the client get it. A later attempt is answered
with the stored response. A lock in this process would not do, since replicas share nothing but the
database.

An example. Replicas A and B both get ``POST …/sequences`` with the key ``k1``. A's transaction
stores ``k1`` and the range. B's transaction finds the key taken and is rolled back. So B waits
until A's response is stored, and sends it with ``idempotency-replayed: true``.

Keys are for those who may write. Each caller's are bounded apart from those of others. An answer
that is not stored is marked with ``idempotency-kept: false``.

The answers follow IETF draft-ietf-httpapi-idempotency-key-header-07: 400 for a malformed key, 409
while the request is being carried out, 422 if the key was used for another request.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from control_plane.api.auth import CALLER, Caller
from control_plane.api.middleware.asgi import (
    App,
    Message,
    Receive,
    Send,
    is_write,
    replayed,
    values_of,
)
from control_plane.api.problem import problem, topology_problem
from control_plane.names import MAX_IDEMPOTENCY_KEY_CHARS
from control_plane.topology import Scope, Topology
from control_plane.topology.storage import idempotency
from control_plane.topology.storage.idempotency import Once, Remembered
from control_plane.topology.values.errors import TopologyError

WAIT_S = 5.0
"""How long a repeated request waits for the answer of its first attempt in another replica."""
ANSWER_POLL_S = 0.05
_NEVER_KEPT = frozenset({401, 403, 429})
"""Answers that hang on the moment, and not only on the request."""
_KEY = re.compile(rb"[\x20-\x7e]{1,%d}\Z" % MAX_IDEMPOTENCY_KEY_CHARS)


class Idempotency:
    """ASGI middleware that answers a repeated write with the response of its first attempt.

    It needs the caller in the scope and the body in one message.
    """

    def __init__(self, app: App, topology: Topology) -> None:
        self._app = app
        self._topology = topology
        self._in_flight: set[str] = set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request."""
        sent = values_of(scope, b"idempotency-key") if is_write(scope) else []
        if not sent or not scope[CALLER].scope.includes(Scope.OPERATOR):
            await self._app(scope, receive, send)
            return
        if len(sent) > 1 or not _KEY.match(sent[0]):
            detail = (
                f"send one Idempotency-Key of 1 to {MAX_IDEMPOTENCY_KEY_CHARS} ASCII characters"
            )
            await _send(problem(400, detail, code="invalid"), send)
            return
        caller: Caller = scope[CALLER]
        key = _key_of_caller(sent[0].decode(), caller)
        if key in self._in_flight:
            detail = "a request with this Idempotency-Key is still being carried out"
            await _send(problem(409, detail, code="in-flight"), send)
            return
        self._in_flight.add(key)
        try:
            body = (await receive())["body"]
            once = Once(key, _fingerprint(scope, body), _hashed(caller.id))
            await self._carry_out(once, scope, replayed(body, receive), send)
        except TopologyError as error:
            await topology_problem(error)(scope, receive, send)
        finally:
            self._in_flight.discard(key)

    async def _carry_out(self, once: Once, scope: Message, receive: Receive, send: Send) -> None:
        if await run_in_threadpool(self._topology.idempotency.recall, once.key) is not None:
            await self._answer_again(once, send)
            return
        response = _HeldResponse()
        try:
            with idempotency.once(once):
                await self._app(scope, receive, response.take)
        except BaseException:
            # The handler has a bug, or the server stops. What it wrote stays, without an answer.
            await asyncio.shield(self._store_without_answer(once))
            raise
        # The answer is stored before the client gets it, since the client may then repeat at once.
        if once.beaten or not await self._store(once, response):
            await self._answer_again(once, send)
            return
        await response.release(send)

    async def _store(self, once: Once, response: _HeldResponse) -> bool:
        """Store the response if it may be repeated; return False if another request has the key."""
        response.mark()
        if response.is_repeatable:
            answer = response.remembered(once.fingerprint)
            return await run_in_threadpool(self._topology.idempotency.remember, once, answer)
        await self._store_without_answer(once)
        return True

    async def _store_without_answer(self, once: Once) -> None:
        """Store that the request's writes have no answer that can be repeated."""
        if once.written:
            answer = Remembered(once.fingerprint, idempotency.UNKEPT, "", "")
            await run_in_threadpool(self._topology.idempotency.remember, once, answer)

    async def _answer_again(self, once: Once, send: Send) -> None:
        first = await self._first_attempt(once.key)
        if first is None:
            detail = "a request with this Idempotency-Key was quicker, and is forgotten: ask again"
            await _send(problem(409, detail, code="in-flight"), send)
        elif first.fingerprint != once.fingerprint:
            detail = "this Idempotency-Key was used for another request"
            await _send(problem(422, detail, code="key-reused"), send)
        elif first.answered:
            await _resend(first, send)
        else:
            await _send(_no_answer(first), send)

    async def _first_attempt(self, key: str) -> Remembered | None:
        """Return what is stored under a key. Wait up to `WAIT_S` until that has an answer."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WAIT_S
        while True:
            stored = await run_in_threadpool(self._topology.idempotency.recall, key)
            is_pending = stored is not None and stored.status == idempotency.PENDING
            if not is_pending or loop.time() >= deadline:
                return stored
            await asyncio.sleep(ANSWER_POLL_S)


class _HeldResponse:
    """A response that the client gets only once it is stored."""

    def __init__(self) -> None:
        self.status = 500
        self._messages: list[Message] = []

    async def take(self, message: Message) -> None:
        """Hold a message of the response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self._messages.append(message)

    @property
    def is_repeatable(self) -> bool:
        """Whether a repeated request may get it.

        It gets no server error, no refusal, no secret, and nothing that is too large to be stored.
        """
        headers = dict(self._messages[0]["headers"]) if self._messages else {}
        is_secret = headers.get(b"cache-control") == b"no-store"
        size = sum(len(message.get("body", b"")) for message in self._messages)
        is_small = size + sum(map(len, headers.values())) <= idempotency.MAX_ANSWER_BYTES
        return self.status < 500 and self.status not in _NEVER_KEPT and not is_secret and is_small

    def mark(self) -> None:
        """Say so in a response that a repeated request does not get."""
        if self._messages and not self.is_repeatable:
            headers = self._messages[0].get("headers", ())
            self._messages[0]["headers"] = [*headers, (b"idempotency-kept", b"false")]

    async def release(self, send: Send) -> None:
        """Send the response to the client."""
        for message in self._messages:
            await send(message)

    def remembered(self, fingerprint: str) -> Remembered:
        """Return the response as it is stored."""
        headers = [
            (name.decode(), value.decode("latin-1")) for name, value in self._messages[0]["headers"]
        ]
        body = b"".join(message.get("body", b"") for message in self._messages[1:])
        return Remembered(fingerprint, self.status, json.dumps(headers), body.decode())


def _key_of_caller(key: str, caller: Caller) -> str:
    """Return the key to store: two callers that send the same key don't share an answer."""
    return _hashed(f"{caller.id}\0{key}") if caller.id else key


def _hashed(text: str) -> str:
    """Return a text of 64 characters for a text of any length; the empty one for the empty one."""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def _fingerprint(scope: Message, body: bytes) -> str:
    """Return a hash of the method, the path, the query and the body: of what makes a request."""
    parts = (scope["method"].encode(), scope["raw_path"], scope["query_string"], body)
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _no_answer(first: Remembered) -> Response:
    """Return the 409 to a write that was carried out, and whose answer can't be repeated."""
    has_ended = first.status == idempotency.UNKEPT
    why = "its answer is not kept" if has_ended else "its answer is not there yet, or was lost"
    detail = (
        f"a request with this Idempotency-Key was carried out after revision {first.since}; {why}."
        f" See what it changed: GET /v1/changes?since={first.since}"
    )
    code = "answer-not-kept" if has_ended else "in-flight"
    return problem(409, detail, code=code, since=first.since)


async def _send(answer: Response, send: Send) -> None:
    start = {"type": "http.response.start", "status": answer.status_code}
    await send(start | {"headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _resend(answer: Remembered, send: Send) -> None:
    headers = [(n.encode(), v.encode("latin-1")) for n, v in json.loads(answer.headers)]
    headers.append((b"idempotency-replayed", b"true"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body.encode()})
