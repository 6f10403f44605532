"""Carries a write out once per ``Idempotency-Key``, whichever replica it goes to.

IETF draft-ietf-httpapi-idempotency-key-header-07: 400 for a malformed key, 409 while the request is
being carried out, 422 where the key was used for another request.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from control_plane.api.problem import problem
from control_plane.names import MAX_IDEMPOTENCY_KEY_CHARS
from control_plane.topology import Topology
from control_plane.topology.storage import idempotency
from control_plane.topology.storage.idempotency import Once, Remembered

WAIT_S = 5.0
"""How long the answer of the same request in another replica is waited for."""
ANSWER_POLL_S = 0.05
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Carry = Callable[[Send], Awaitable[None]]


class OncePerKey:
    """Answers a request that was carried out already with the answer that it had."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._in_flight: set[str] = set()

    async def carry_out(
        self, given: str, caller: str, request: bytes, carry: Carry, send: Send
    ) -> None:
        """Have ``carry`` answer, or send what was answered before.

        Keys of one caller (its id; empty for anybody) are nothing to another. ``request`` is all
        that makes a request the same.
        """
        if len(given) > MAX_IDEMPOTENCY_KEY_CHARS:
            detail = f"Idempotency-Key is longer than {MAX_IDEMPOTENCY_KEY_CHARS} characters"
            await _send(problem(400, detail, code="invalid"), send)
            return
        key = hashlib.sha256(f"{caller}\0{given}".encode()).hexdigest() if caller else given
        if key in self._in_flight:
            detail = "a request with this Idempotency-Key is still being carried out"
            await _send(problem(409, detail, code="in-flight"), send)
            return
        self._in_flight.add(key)
        try:
            await self._carry_out(Once(key, hashlib.sha256(request).hexdigest()), carry, send)
        finally:
            self._in_flight.discard(key)

    async def _carry_out(self, request: Once, carry: Carry, send: Send) -> None:
        if await run_in_threadpool(self._topology.idempotency.recall, request.key) is not None:
            await self._answer_again(request, send)
            return
        recorder = _Recorder()
        try:
            with idempotency.once(request):
                await carry(recorder.take)
        except BaseException:
            # A bug, or the server stops: what may be done stands as such, without an answer.
            await asyncio.shield(self._forgo(request))
            raise
        # Before the client has it: then it may repeat the request at once.
        if request.beaten or not await self._kept(request, recorder):
            await self._answer_again(request, send)
            return
        await recorder.release(send)

    async def _kept(self, request: Once, recorder: _Recorder) -> bool:
        """Keep the answer, if it may be; False if another request has the key."""
        if recorder.worth_keeping:
            answer = recorder.remembered(request.fingerprint)
            return await run_in_threadpool(self._topology.idempotency.remember, request, answer)
        await self._forgo(request)
        return True

    async def _forgo(self, request: Once) -> None:
        """Say that what was written has no answer to be given again."""
        if request.written:
            answer = Remembered(request.fingerprint, idempotency.UNKEPT, "", "")
            await run_in_threadpool(self._topology.idempotency.remember, request, answer)

    async def _answer_again(self, request: Once, send: Send) -> None:
        before = await self._answered(request.key)
        if before is None:
            detail = "a request with this Idempotency-Key was quicker, and is forgotten: ask again"
            await _send(problem(409, detail, code="in-flight"), send)
        elif before.fingerprint != request.fingerprint:
            detail = "this Idempotency-Key was used for another request"
            await _send(problem(422, detail, code="key-reused"), send)
        elif before.answered:
            await _resend(before, send)
        else:
            await _send(_unanswered(before), send)

    async def _answered(self, key: str) -> Remembered | None:
        """What is known under a key, once there is an answer; waits for one within bounds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WAIT_S
        while True:
            known = await run_in_threadpool(self._topology.idempotency.recall, key)
            pending = known is not None and known.status == idempotency.PENDING
            if not pending or loop.time() >= deadline:
                return known
            await asyncio.sleep(ANSWER_POLL_S)


class _Recorder:
    """Holds a response until it is remembered."""

    def __init__(self) -> None:
        self.status = 500
        self._messages: list[Message] = []

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self._messages.append(message)

    @property
    def worth_keeping(self) -> bool:
        """Whether a repetition may have it: no error of ours, no refusal, and no secret."""
        headers = dict(self._messages[0]["headers"]) if self._messages else {}
        secret = headers.get(b"cache-control") == b"no-store"
        return self.status < 500 and self.status != 403 and not secret

    async def release(self, send: Send) -> None:
        for message in self._messages:
            await send(message)

    def remembered(self, fingerprint: str) -> Remembered:
        headers = [
            (name.decode(), value.decode("latin-1")) for name, value in self._messages[0]["headers"]
        ]
        body = b"".join(message.get("body", b"") for message in self._messages[1:])
        return Remembered(fingerprint, self.status, json.dumps(headers), body.decode())


def _unanswered(before: Remembered) -> Response:
    """It was written, and is never written again; what came of it the change feed knows."""
    ended = before.status == idempotency.UNKEPT
    why = "its answer is not kept" if ended else "its answer is not there yet, or was lost"
    detail = (
        f"a request with this Idempotency-Key was carried out after revision {before.since}; {why}."
        f" See what it changed: GET /v1/changes?since={before.since}"
    )
    code = "answer-not-kept" if ended else "in-flight"
    return problem(409, detail, code=code, since=before.since)


async def _send(answer: Response, send: Send) -> None:
    start = {"type": "http.response.start", "status": answer.status_code}
    await send(start | {"headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _resend(answer: Remembered, send: Send) -> None:
    headers = [(n.encode(), v.encode("latin-1")) for n, v in json.loads(answer.headers)]
    headers.append((b"idempotency-replayed", b"true"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body.encode()})
