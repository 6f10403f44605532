"""``/v1/changes``: the change feed as a list, or as Server-Sent Events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from control_plane.api.auth import VIEWER
from control_plane.api.callers import Admission
from control_plane.api.event_stream import EventStream
from control_plane.api.long_work import TheWork
from control_plane.api.parameters import Limit
from control_plane.api.rendering import rendered
from control_plane.api.schemas.answers import answers
from control_plane.api.schemas.changes import ChangeList
from control_plane.api.state import TheTopology, admission_of, caller_of, state_of
from control_plane.topology.values.change import Change

EVENTS = "text/event-stream"
_ANSWERS = answers(ChangeList)
_ANSWERS[200]["content"] = {EVENTS: {"schema": {"type": "string"}}}
router = APIRouter(prefix="/v1", tags=["changes"])


async def _stream_admission(
    request: Request, accept: Annotated[str, Header(include_in_schema=False)] = ""
) -> AsyncIterator[Admission | None]:
    """Give the credentials of a stream, with a slot until its end; None for a list."""
    if EVENTS not in accept:
        yield None
        return
    with state_of(request).streams.one(caller_of(request)):
        yield admission_of(request)


StreamAdmission = Annotated[Admission | None, Depends(_stream_admission)]


@router.get("/changes", response_class=JSONResponse, responses=_ANSWERS, openapi_extra=VIEWER)
async def list_changes(
    topology: TheTopology,
    admission: StreamAdmission,
    work: TheWork,
    since: Annotated[int, Query(ge=0, lt=2**63, description="changes after this revision")] = 0,
    limit: Limit = 100,
    last_event_id: Annotated[
        Annotated[int, Field(ge=0, lt=2**63)] | SkipJsonSchema[None],
        Header(description="the last revision that you have; it overrides since"),
    ] = None,
) -> Response:
    """List the changes after a revision, the oldest first.

    With ``Accept: text/event-stream`` the answer does not end, and new changes follow as they are
    made, until the token that was sent is revoked or expires. ``Last-Event-ID`` overrides
    ``since``. 410: changes after that revision were deleted. 429: this caller has too many such
    streams open. 503: all callers together have.
    """
    after = last_event_id if last_event_id is not None else since
    changes = await run_in_threadpool(topology.changes.since, after, limit=limit)
    if admission is not None:
        return EventStream(topology, after, admission)
    return await work(lambda: _listed(changes, limit))


def _listed(changes: list[Change], limit: int) -> Response:
    more = len(changes) >= limit
    document = {
        "items": [change.as_dict() for change in changes],
        "next": changes[-1].revision if changes and more else None,
    }
    return rendered(document)
