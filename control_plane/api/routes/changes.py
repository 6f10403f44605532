"""``/v1/changes``: the feed as a list, or as Server-Sent Events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from control_plane.api.auth import VIEWER
from control_plane.api.schemas.responses import ChangeList, answers
from control_plane.topology import Topology

HEARTBEAT_S = 15.0
POLL_S = 0.5
_ANSWERS = answers(ChangeList)
_ANSWERS[200]["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
router = APIRouter(prefix="/v1", tags=["changes"])


@router.get("/changes", response_class=JSONResponse, responses=_ANSWERS, openapi_extra=VIEWER)
async def list_changes(
    request: Request,
    since: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    accept: Annotated[str, Header()] = "",
    last_event_id: Annotated[
        Annotated[int, Field(ge=0, lt=2**63)] | SkipJsonSchema[None], Header()
    ] = None,
) -> Response:
    """Changes after a revision. With ``Accept: text/event-stream`` they keep coming."""
    topology: Topology = request.app.state.topology
    after = last_event_id if last_event_id is not None else since
    found = await run_in_threadpool(topology.changes.since, after, limit=limit)
    if "text/event-stream" in accept:
        return StreamingResponse(_events(topology, after), media_type="text/event-stream")
    more = len(found) >= limit
    return JSONResponse(
        {
            "items": [change.as_dict() for change in found],
            "next": found[-1].revision if found and more else None,
        }
    )


async def _events(topology: Topology, after: int) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    wake = asyncio.Event()

    def hint(_: int) -> None:
        loop.call_soon_threadsafe(wake.set)

    stop = topology.subscribe(hint)
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
        stop()


def _event(revision: int, kind: str, body: dict[str, Any]) -> str:
    return f"id: {revision}\nevent: {kind}\ndata: {json.dumps(body)}\n\n"
