"""``/v1/leases``: updates of claims that were begun and not ended, and how operators end them."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool

from control_plane.api import paging
from control_plane.api.auth import OPERATOR, VIEWER
from control_plane.api.background import Operations
from control_plane.api.routes.operations import accepted, would_do
from control_plane.api.schemas.operator_responses import (
    LeaseDocument,
    LeaseList,
    LeaseSettled,
    OperationStarted,
)
from control_plane.api.schemas.requests import SettleAllBody, SettleBody
from control_plane.api.schemas.responses import answers
from control_plane.api.write import WriteOptions
from control_plane.topology import Topology
from control_plane.topology.values.change import Written

router = APIRouter(prefix="/v1/leases", tags=["leases"])
MAX_AGE_S = 10 * 365 * 86400


def _topology(request: Request) -> Topology:
    topology: Topology = request.app.state.topology
    return topology


@router.get("", response_model=None, responses=answers(LeaseList), openapi_extra=VIEWER)
async def list_leases(
    request: Request,
    cell: Annotated[str | SkipJsonSchema[None], Query(max_length=63)] = None,
    older_than_s: Annotated[int, Query(ge=0, le=MAX_AGE_S, description="seconds")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | SkipJsonSchema[None], Query(max_length=paging.MAX_CURSOR_CHARS)] = None,
) -> dict[str, Any]:
    """Open leases, the oldest first; ages are by the database's clock."""
    after = paging.decode_moment(cursor)
    found = await run_in_threadpool(
        _topology(request).open_leases.oldest,
        cell,
        older_than_s=older_than_s,
        after=after,
        limit=limit,
    )
    more = len(found) == limit
    return {
        "items": [lease.as_dict() for lease in found],
        "next": paging.encode_moment(found[-1].created_at, found[-1].uuid) if more else None,
    }


@router.post(
    "/settle",
    status_code=202,
    responses=answers(OperationStarted, 200, 202),
    openapi_extra=OPERATOR,
)
async def settle_all(request: Request, body: SettleAllBody, write: WriteOptions) -> JSONResponse:
    """Settle every open lease of a cell that won't come back: an operation."""
    topology = _topology(request)
    total = await run_in_threadpool(topology.open_leases.count, body.cell)
    if write.dry_run:
        return would_do("settle-leases", body.cell, total)
    operations: Operations = request.app.state.operations
    work = partial(
        topology.open_leases.settle_all,
        body.cell,
        body.settled(),
        reason=body.reason,
        actor=write.actor,
    )
    begun = await operations.start(
        "settle-leases", body.cell, total, lambda p: work(progress=p), actor=write.actor
    )
    return accepted(begun)


@router.get("/{lease}", response_model=None, responses=answers(LeaseDocument), openapi_extra=VIEWER)
async def get_lease(request: Request, lease: str) -> dict[str, Any]:
    """One open lease."""
    return (await run_in_threadpool(_topology(request).open_leases.get, lease)).as_dict()


@router.post("/{lease}/settle", responses=answers(LeaseSettled), openapi_extra=OPERATOR)
async def settle_one(
    request: Request, lease: str, body: SettleBody, write: WriteOptions
) -> JSONResponse:
    """Settle one open lease whose cell can't do so itself."""
    topology = _topology(request)
    found = await run_in_threadpool(topology.open_leases.get, lease)
    revision = await run_in_threadpool(topology.revision)
    if not write.dry_run:
        revision = await run_in_threadpool(
            topology.open_leases.settle,
            lease,
            body.settled(),
            reason=body.reason,
            actor=write.actor,
        )
    document = {"lease": found.as_dict(), "outcome": body.settled()}
    return await write.answer(Written(found, revision, ()), document, etag=None)
