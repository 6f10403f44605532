"""The change feed as Server-Sent Events, for as long as the caller's credentials hold."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Send

from control_plane.api.callers import RECHECK_S, Admission
from control_plane.topology import Topology
from control_plane.topology.values.errors import TopologyError

HEARTBEAT_S = 15.0
POLL_S = 0.5
MAX_SEND_S = 30.0
"""How long a client may take to read what is sent before its stream is broken off."""
log = logging.getLogger(__name__)


class EventStream(StreamingResponse):
    """A stream of changes. It ends when its token is revoked or expires."""

    media_type = "text/event-stream"

    def __init__(self, topology: Topology, after: int, admission: Admission) -> None:
        """Stream the changes after a revision."""
        super().__init__(_events(topology, after, admission))

    async def stream_response(self, send: Send) -> None:
        """Send the events; break off if the client does not read them."""

        async def send_in_time(message: Any) -> None:
            async with asyncio.timeout(MAX_SEND_S):
                await send(message)

        try:
            await super().stream_response(send_in_time)
        except TimeoutError:
            log.info("an event stream is broken off: its client has not read for %d s", MAX_SEND_S)


async def _events(topology: Topology, after: int, admission: Admission) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    wake = asyncio.Event()

    def on_commit(_: int) -> None:
        loop.call_soon_threadsafe(wake.set)

    unsubscribe = topology.subscribe(on_commit)
    sent_at = checked_at = loop.time()
    try:
        while True:
            wake.clear()
            changes = await run_in_threadpool(topology.changes.since, after)
            # The check comes after the reading. So what was committed after the revocation of the
            # caller's token is never sent.
            if changes or loop.time() - checked_at >= RECHECK_S:
                if not await admission.holds():
                    yield ": the credentials of this stream are no longer valid\n\n"
                    return
                checked_at = loop.time()
            for change in changes:
                after = max(after, change.revision)
                yield _event(change.revision, change.kind, change.as_dict())
                sent_at = loop.time()
            if loop.time() - sent_at >= HEARTBEAT_S:
                sent_at = loop.time()
                yield ": still here\n\n"
            await _woken(wake)
    except TopologyError as error:
        log.warning("an event stream ends: %s", error)
        yield ": the changes can't be read now; connect again\n\n"
    finally:
        unsubscribe()


async def _woken(wake: asyncio.Event) -> None:
    """Wait for a commit, at most `POLL_S`: replicas' commits may come without a hint."""
    try:
        async with asyncio.timeout(POLL_S):
            await wake.wait()
    except TimeoutError:
        return


def _event(revision: int, kind: str, body: dict[str, Any]) -> str:
    return f"id: {revision}\nevent: {kind}\ndata: {json.dumps(body)}\n\n"
