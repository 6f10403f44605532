"""``/v1/operations``: how far something is that takes longer than a request."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool

from control_plane.api import paging
from control_plane.api.auth import VIEWER
from control_plane.api.schemas.operator_responses import OperationDocument, OperationList
from control_plane.api.schemas.responses import answers
from control_plane.topology import Operation, Topology

router = APIRouter(prefix="/v1/operations", tags=["operations"])


@router.get("", response_model=None, responses=answers(OperationList), openapi_extra=VIEWER)
async def list_operations(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | SkipJsonSchema[None], Query(max_length=paging.MAX_CURSOR_CHARS)] = None,
) -> dict[str, Any]:
    """The newest first; the last 1,000 are kept."""
    topology: Topology = request.app.state.topology
    before = paging.decode_moment(cursor)
    found = await run_in_threadpool(topology.operations.page, before=before, limit=limit)
    more = len(found) == limit
    return {
        "items": [one.as_dict() for one in found],
        "next": paging.encode_moment(found[-1].started_at, found[-1].id) if more else None,
    }


@router.get(
    "/{operation}", response_model=None, responses=answers(OperationDocument), openapi_extra=VIEWER
)
async def get_operation(request: Request, operation: str) -> dict[str, Any]:
    """One of them. ``interrupted``: start it again, and it goes on where it was."""
    topology: Topology = request.app.state.topology
    return (await run_in_threadpool(topology.operations.get, operation)).as_dict()


def accepted(operation: Operation) -> JSONResponse:
    """202: it has begun, and where to ask how far it is."""
    location = f"/v1/operations/{operation.id}"
    body = {"operation": operation.as_dict()}
    return JSONResponse(body, status_code=202, headers={"location": location})


def would_do(kind: str, target: str, total: int) -> JSONResponse:
    """200: what a dry run says."""
    return JSONResponse({"dry_run": True, "kind": kind, "target": target, "total": total})
