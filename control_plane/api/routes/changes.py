"""``/v1/changes``: the change feed as a list, or as Server-Sent Events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from control_plane.api.auth import VIEWER
from control_plane.api.long_work import TheWork
from control_plane.api.rendering import rendered
from control_plane.api.schemas.answers import answers
from control_plane.api.schemas.changes import ChangeList
from control_plane.api.state import TheTopology
from control_plane.topology import Topology
from control_plane.topology.values.change import Change

HEARTBEAT_S = 15.0
POLL_S = 0.5
_ANSWERS = answers(ChangeList)
_ANSWERS[200]["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
router = APIRouter(prefix="/v1", tags=["changes"])


@router.get("/changes", response_class=JSONResponse, responses=_ANSWERS, openapi_extra=VIEWER)
async def list_changes(
    topology: TheTopology,
    work: TheWork,
    since: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    accept: Annotated[str, Header()] = "",
    last_event_id: Annotated[
        Annotated[int, Field(ge=0, lt=2**63)] | SkipJsonSchema[None], Header()
    ] = None,
) -> Response:
    """List the changes after a revision, the oldest first.

    With ``Accept: text/event-stream`` the answer does not end, and new changes follow as they are
    made. ``Last-Event-ID`` overrides ``since``. 410: changes after that revision were deleted.
    """
    after = last_event_id if last_event_id is not None else since
    changes = await run_in_threadpool(topology.changes.since, after, limit=limit)
    if "text/event-stream" in accept:
        return StreamingResponse(_events(topology, after), media_type="text/event-stream")
    return await work(lambda: _listed(changes, limit))


def _listed(changes: list[Change], limit: int) -> Response:
    more = len(changes) >= limit
    document = {
        "items": [change.as_dict() for change in changes],
        "next": changes[-1].revision if changes and more else None,
    }
    return rendered(document)


async def _events(topology: Topology, after: int) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    wake = asyncio.Event()

    def on_commit(_: int) -> None:
        loop.call_soon_threadsafe(wake.set)

    unsubscribe = topology.subscribe(on_commit)
    idle_s = 0.0
    try:
        while True:
            for change in await run_in_threadpool(topology.changes.since, after):
                after = max(after, change.revision)
                yield _event(change.revision, change.kind, change.as_dict())
                idle_s = 0.0
            wake.clear()
            try:
                async with asyncio.timeout(POLL_S):
                    await wake.wait()
            except TimeoutError:
                idle_s += POLL_S
            if idle_s >= HEARTBEAT_S:
                idle_s = 0.0
                yield ": still here\n\n"
    finally:
        unsubscribe()


def _event(revision: int, kind: str, body: dict[str, Any]) -> str:
    return f"id: {revision}\nevent: {kind}\ndata: {json.dumps(body)}\n\n"
