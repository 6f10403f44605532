"""``/v1/drains``: a cell's share of the free traffic goes down in steps, and returns."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from control_plane.api import paging
from control_plane.api.auth import OPERATOR, VIEWER
from control_plane.api.drain_preview import preview
from control_plane.api.long_work import TheWork
from control_plane.api.paging import Cursor
from control_plane.api.parameters import CONDITIONAL, DrainInPath, Limit
from control_plane.api.rendering import rendered
from control_plane.api.schemas.answers import NOT_MODIFIED, answers
from control_plane.api.schemas.drains import DrainBody, DrainDocument, DrainList, DrainWritten
from control_plane.api.state import TheTopology
from control_plane.api.write import RequestedWrite, WriteOptions
from control_plane.topology import Topology
from control_plane.topology.cells.drains import DrainAction

router = APIRouter(prefix="/v1/drains", tags=["drains"])


@router.get("", response_model=None, responses=answers(DrainList), openapi_extra=VIEWER)
async def list_drains(
    topology: TheTopology,
    work: TheWork,
    cell: Annotated[
        str | SkipJsonSchema[None], Query(max_length=63, description="only drains of this cell")
    ] = None,
    active: Annotated[bool, Query(description="only drains that have not ended")] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """List drains, the newest first."""
    before = paging.decode_moment(cursor)

    def read() -> Response:
        drains = topology.drains.page(cell=cell, active=active, before=before, limit=limit)
        last = drains[-1] if len(drains) == limit else None
        document = {
            "items": [drain.as_dict() for drain in drains],
            "next": paging.encode_moment(last.started_at, last.id) if last else None,
        }
        return rendered(document)

    return await work(read)


@router.post("", status_code=201, responses=answers(DrainWritten, 200, 201), openapi_extra=OPERATOR)
async def start_drain(topology: TheTopology, body: DrainBody, write: WriteOptions) -> JSONResponse:
    """Start a drain; the first step follows at once, and each later one after the interval.

    It acts on requests that no cell owns: a tenant's requests go on going to its cell. At the
    expiry the cell gets all of its share back. With ``dry_run`` the answer has a preview. 409: the
    cell has a drain already, it is the last that takes new traffic, or too little capacity would
    be left.
    """
    spec = body.spec()
    written = await run_in_threadpool(
        topology.drains.start, spec, actor=write.actor, dry_run=write.dry_run
    )
    document: dict[str, Any] = {"drain": written.value.as_dict()}
    if write.dry_run:
        document["preview"] = await run_in_threadpool(preview, topology, spec)
    response = await write.answer(written, document, status=201, etag=written.value.version)
    response.headers["location"] = f"/v1/drains/{written.value.id}"
    return response


@router.get(
    "/{drain}",
    responses=answers(DrainDocument) | NOT_MODIFIED,
    dependencies=[CONDITIONAL],
    openapi_extra=VIEWER,
)
async def get_drain(topology: TheTopology, drain: DrainInPath) -> JSONResponse:
    """Return a drain, with its ETag."""
    found = await run_in_threadpool(topology.drains.get, drain)
    return JSONResponse(found.as_dict(), headers={"etag": f'"{found.version}"'})


@router.post("/{drain}/pause", responses=answers(DrainWritten), openapi_extra=OPERATOR)
async def pause_drain(
    topology: TheTopology, drain: DrainInPath, write: WriteOptions
) -> JSONResponse:
    """Keep the share as it is, until the expiry. 409: the drain does not run.

    If-Match is optional: the drain's ETag.
    """
    return await _change(topology, drain, "pause", write)


@router.post("/{drain}/resume", responses=answers(DrainWritten), openapi_extra=OPERATOR)
async def resume_drain(
    topology: TheTopology, drain: DrainInPath, write: WriteOptions
) -> JSONResponse:
    """Go on with a paused drain, with a step at once. 409: the drain is not paused.

    If-Match is optional: the drain's ETag.
    """
    return await _change(topology, drain, "resume", write)


@router.post("/{drain}/abort", responses=answers(DrainWritten), openapi_extra=OPERATOR)
async def abort_drain(
    topology: TheTopology, drain: DrainInPath, write: WriteOptions
) -> JSONResponse:
    """End a drain: its cell gets all of its share back at once. 409: it has ended.

    If-Match is optional: the drain's ETag.
    """
    return await _change(topology, drain, "abort", write)


async def _change(
    topology: Topology, drain: str, action: DrainAction, write: RequestedWrite
) -> JSONResponse:
    written = await run_in_threadpool(
        topology.drains.change,
        drain,
        action,
        actor=write.actor,
        expected_version=write.match(),
        dry_run=write.dry_run,
    )
    document = {"drain": written.value.as_dict()}
    return await write.answer(written, document, etag=written.value.version)
