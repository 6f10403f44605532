"""``/v1/leases``: updates of claims that were begun and not ended, which operators can end."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from control_plane.api import paging
from control_plane.api.auth import OPERATOR, VIEWER
from control_plane.api.long_work import TheWork
from control_plane.api.paging import Cursor
from control_plane.api.parameters import LeaseInPath, Limit
from control_plane.api.rendering import rendered
from control_plane.api.routes.operations import accepted, would_do
from control_plane.api.schemas.answers import answers
from control_plane.api.schemas.leases import (
    LeaseDocument,
    LeaseList,
    LeaseSettled,
    SettleAllBody,
    SettleBody,
)
from control_plane.api.schemas.operations import OperationStarted
from control_plane.api.state import TheOperations, TheTopology
from control_plane.api.write import WriteOptions
from control_plane.topology.values.change import Written

router = APIRouter(prefix="/v1/leases", tags=["leases"])
MAX_AGE_S = 10 * 365 * 86400


@router.get("", response_model=None, responses=answers(LeaseList), openapi_extra=VIEWER)
async def list_leases(
    topology: TheTopology,
    work: TheWork,
    cell: Annotated[
        str | SkipJsonSchema[None], Query(max_length=63, description="only leases of this cell")
    ] = None,
    older_than_s: Annotated[
        int, Query(ge=0, le=MAX_AGE_S, description="only leases of at least so many seconds")
    ] = 0,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """List open leases, the oldest first. Ages are by the database's clock."""
    after = paging.decode_moment(cursor)

    def read() -> Response:
        leases = topology.open_leases.oldest(
            cell, older_than_s=older_than_s, after=after, limit=limit
        )
        more = len(leases) == limit
        last = leases[-1] if more else None
        document = {
            "items": [lease.as_dict() for lease in leases],
            "next": paging.encode_moment(last.created_at, last.uuid) if last else None,
        }
        return rendered(document)

    return await work(read)


@router.post(
    "/settle",
    status_code=202,
    responses=answers(OperationStarted, 200, 202),
    openapi_extra=OPERATOR,
)
async def settle_all(
    topology: TheTopology, operations: TheOperations, body: SettleAllBody, write: WriteOptions
) -> JSONResponse:
    """Settle every open lease of a cell that won't come back.

    It begins an operation, and answers 202 with the place to ask how far that is.
    """
    total = await run_in_threadpool(topology.open_leases.count, body.cell)
    if write.dry_run:
        return would_do("settle-leases", body.cell, total)
    work = partial(
        topology.open_leases.settle_all,
        body.cell,
        body.settled(),
        reason=body.reason,
        actor=write.actor,
    )
    operation = await operations.start(
        "settle-leases",
        body.cell,
        total,
        lambda progress: work(progress=progress),
        actor=write.actor,
    )
    return accepted(operation)


@router.get("/{lease}", response_model=None, responses=answers(LeaseDocument), openapi_extra=VIEWER)
async def get_lease(topology: TheTopology, lease: LeaseInPath) -> dict[str, Any]:
    """Return an open lease. 404: there is none, or it was settled."""
    return (await run_in_threadpool(topology.open_leases.get, lease)).as_dict()


@router.post("/{lease}/settle", responses=answers(LeaseSettled), openapi_extra=OPERATOR)
async def settle_one(
    topology: TheTopology, lease: LeaseInPath, body: SettleBody, write: WriteOptions
) -> JSONResponse:
    """Commit or roll back an open lease whose cell can't do so itself."""
    open_lease = await run_in_threadpool(topology.open_leases.get, lease)
    revision = await run_in_threadpool(topology.revision)
    if not write.dry_run:
        revision = await run_in_threadpool(
            topology.open_leases.settle,
            lease,
            body.settled(),
            reason=body.reason,
            actor=write.actor,
        )
    document = {"lease": open_lease.as_dict(), "outcome": body.settled()}
    return await write.answer(Written(open_lease, revision, ()), document, etag=None)
