"""``/v1/operations``: the progress of work that takes longer than a request."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from control_plane.api import paging
from control_plane.api.auth import VIEWER
from control_plane.api.paging import Cursor
from control_plane.api.parameters import Limit, OperationInPath
from control_plane.api.schemas.answers import answers
from control_plane.api.schemas.operations import OperationDocument, OperationList
from control_plane.api.state import TheTopology
from control_plane.topology import Operation

router = APIRouter(prefix="/v1/operations", tags=["operations"])


@router.get("", response_model=None, responses=answers(OperationList), openapi_extra=VIEWER)
async def list_operations(
    topology: TheTopology,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List operations, the newest first. The last 1,000 are kept."""
    before = paging.decode_moment(cursor)
    operations = await run_in_threadpool(topology.operations.page, before=before, limit=limit)
    more = len(operations) == limit
    return {
        "items": [one.as_dict() for one in operations],
        "next": paging.encode_moment(operations[-1].started_at, operations[-1].id)
        if more
        else None,
    }


@router.get(
    "/{operation}", response_model=None, responses=answers(OperationDocument), openapi_extra=VIEWER
)
async def get_operation(topology: TheTopology, operation: OperationInPath) -> dict[str, Any]:
    """Return an operation.

    If its state is ``interrupted``, begin it again, and it goes on where it was.
    """
    return (await run_in_threadpool(topology.operations.get, operation)).as_dict()


def accepted(operation: Operation) -> JSONResponse:
    """Return the 202 for an operation that has begun, with the place to ask how far it is."""
    location = f"/v1/operations/{operation.id}"
    body = {"operation": operation.as_dict()}
    return JSONResponse(body, status_code=202, headers={"location": location})


def would_do(kind: str, target: str, total: int) -> JSONResponse:
    """Return the 200 for the dry run of an operation."""
    return JSONResponse({"dry_run": True, "kind": kind, "target": target, "total": total})
