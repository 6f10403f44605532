"""``/v1/claims``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool

from control_plane.api import paging
from control_plane.api.auth import OPERATOR, VIEWER
from control_plane.api.schemas.requests import ClaimsBody, ReleaseBody, TransferBody
from control_plane.api.schemas.responses import (
    ClaimDocument,
    ClaimList,
    ClaimsWritten,
    Transferred,
    answers,
)
from control_plane.api.write import WriteOptions
from control_plane.names import MAX_PAGE
from control_plane.topology import Topology

router = APIRouter(prefix="/v1/claims", tags=["claims"])
Filter = Annotated[str | SkipJsonSchema[None], Query(max_length=1024)]


def _topology(request: Request) -> Topology:
    topology: Topology = request.app.state.topology
    return topology


@router.get("", response_model=None, responses=answers(ClaimList), openapi_extra=VIEWER)
async def list_claims(
    request: Request,
    bucket: Filter = None,
    cell: Filter = None,
    prefix: Filter = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    cursor: Annotated[str | SkipJsonSchema[None], Query(max_length=paging.MAX_CURSOR_CHARS)] = None,
) -> dict[str, Any]:
    """Claims in key order; go on with ``cursor`` = the answer's ``next``."""
    after = paging.decode(cursor, 2)
    found = await run_in_threadpool(
        _topology(request).claims.page,
        bucket=bucket,
        cell=cell,
        prefix=prefix,
        after=(after[0], after[1]) if after else None,
        limit=limit,
    )
    more = len(found) == limit
    return {
        "items": [claim.as_dict() for claim in found],
        "next": paging.encode([found[-1].bucket, found[-1].value]) if more else None,
    }


@router.post(
    "", status_code=201, responses=answers(ClaimsWritten, 200, 201), openapi_extra=OPERATOR
)
async def make_claims(request: Request, body: ClaimsBody, write: WriteOptions) -> JSONResponse:
    """Claim a batch: all or none."""
    written = await run_in_threadpool(
        _topology(request).claims.claim,
        [claim.spec() for claim in body.claims],
        actor=write.actor,
        dry_run=write.dry_run,
    )
    items = [claim.as_dict() for claim in written.value]
    return await write.answer(written, {"claims": items}, status=201, etag=None)


@router.post("/release", responses=answers(ClaimsWritten), openapi_extra=OPERATOR)
async def release_claims(request: Request, body: ReleaseBody, write: WriteOptions) -> JSONResponse:
    """Release a batch: all or none."""
    written = await run_in_threadpool(
        _topology(request).claims.release,
        [(key.bucket, key.value) for key in body.claims],
        cell=body.cell,
        actor=write.actor,
        dry_run=write.dry_run,
    )
    items = [claim.as_dict() for claim in written.value]
    return await write.answer(written, {"claims": items}, etag=None)


@router.post("/transfer", responses=answers(Transferred), openapi_extra=OPERATOR)
async def transfer_claims(
    request: Request, body: TransferBody, write: WriteOptions
) -> JSONResponse:
    """Move all claims of a subject from one cell to another in one step: all or none."""
    written = await run_in_threadpool(
        _topology(request).moves.move,
        body.subject.subject(),
        body.source,
        body.target,
        reason=body.reason,
        actor=write.actor,
        dry_run=write.dry_run,
    )
    return await write.answer(written, {"moved": written.value}, etag=None)


@router.get(
    "/{bucket}/{value:path}",
    response_model=None,
    responses=answers(ClaimDocument),
    openapi_extra=VIEWER,
)
async def get_claim(request: Request, bucket: str, value: str) -> dict[str, Any]:
    """Who owns a value."""
    claim = await run_in_threadpool(_topology(request).claims.get, bucket, value)
    return claim.as_dict()
