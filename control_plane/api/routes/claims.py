"""``/v1/claims``: which cell owns a value."""

from __future__ import annotations

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
from control_plane.api.parameters import BucketInPath, PageLimit, ValueInPath
from control_plane.api.problem import ProblemError
from control_plane.api.rendering import rendered
from control_plane.api.schemas.answers import answers
from control_plane.api.schemas.claims import (
    ClaimDocument,
    ClaimList,
    ClaimsBody,
    ClaimsWritten,
    Owners,
    OwnersBody,
    ReleaseBody,
    TransferBody,
    Transferred,
)
from control_plane.api.state import TheTopology
from control_plane.api.write import WriteOptions
from control_plane.names import BUCKET

router = APIRouter(prefix="/v1/claims", tags=["claims"])


@router.get("", response_model=None, responses=answers(ClaimList), openapi_extra=VIEWER)
async def list_claims(
    topology: TheTopology,
    work: TheWork,
    bucket: Annotated[
        str | SkipJsonSchema[None], Query(max_length=1024, description="only claims of this bucket")
    ] = None,
    cell: Annotated[
        str | SkipJsonSchema[None], Query(max_length=1024, description="only claims of this cell")
    ] = None,
    prefix: Annotated[
        str | SkipJsonSchema[None],
        Query(max_length=1024, description="only values that begin so; with bucket"),
    ] = None,
    limit: PageLimit = 100,
    cursor: Cursor = None,
) -> Response:
    """List claims by key. For the next page, send the answer's ``next`` as ``cursor``."""
    after = paging.decode(cursor, 2)

    def read() -> Response:
        claims = topology.claims.page(
            bucket=bucket,
            cell=cell,
            prefix=prefix,
            after=(after[0], after[1]) if after else None,
            limit=limit,
        )
        more = len(claims) == limit
        document = {
            "items": [claim.as_dict() for claim in claims],
            "next": paging.encode([claims[-1].bucket, claims[-1].value]) if more else None,
        }
        return rendered(document)

    return await work(read)


@router.post(
    "", status_code=201, responses=answers(ClaimsWritten, 200, 201), openapi_extra=OPERATOR
)
async def make_claims(topology: TheTopology, body: ClaimsBody, write: WriteOptions) -> JSONResponse:
    """Claim a batch of values: all of them or none. 409: another cell owns one of them."""
    written = await run_in_threadpool(
        topology.claims.claim,
        [claim.spec() for claim in body.claims],
        actor=write.actor,
        dry_run=write.dry_run,
    )
    items = [claim.as_dict() for claim in written.value]
    return await write.answer(written, {"claims": items}, status=201, etag=None)


@router.post("/release", responses=answers(ClaimsWritten), openapi_extra=OPERATOR)
async def release_claims(
    topology: TheTopology, body: ReleaseBody, write: WriteOptions
) -> JSONResponse:
    """Release a batch of claims: all of them or none.

    With ``cell``, they are released only if that cell owns every one.
    """
    written = await run_in_threadpool(
        topology.claims.release,
        [(key.bucket, key.value) for key in body.claims],
        cell=body.cell,
        actor=write.actor,
        dry_run=write.dry_run,
    )
    items = [claim.as_dict() for claim in written.value]
    return await write.answer(written, {"claims": items}, etag=None)


@router.post("/transfer", responses=answers(Transferred), openapi_extra=OPERATOR)
async def transfer_claims(
    topology: TheTopology, body: TransferBody, write: WriteOptions
) -> JSONResponse:
    """Move the claims of a subject from one cell to another in one step: all of them or none."""
    written = await run_in_threadpool(
        topology.moves.move,
        body.subject.subject(),
        body.source,
        body.target,
        reason=body.reason,
        actor=write.actor,
        dry_run=write.dry_run,
    )
    return await write.answer(written, {"moved": written.value}, etag=None)


@router.post("/owners", response_model=None, responses=answers(Owners), openapi_extra=VIEWER)
async def owners_of_claims(topology: TheTopology, body: OwnersBody, work: TheWork) -> Response:
    """Return which cell owns each of many keys. Nothing is written."""
    keys = [(one.bucket, one.value) for one in body.claims]
    for bucket in {bucket for bucket, _ in keys if not BUCKET.match(bucket)}:
        detail = f"{bucket!r} is no bucket: 1 to 64 of a-z, 0-9 and _"
        raise ProblemError(422, detail, code="invalid")

    def read() -> Response:
        revision, owners = topology.claims.owners_as_of(keys)
        return rendered({"revision": revision, "owners": owners})

    return await work(read)


@router.get(
    "/{bucket}/{value:path}",
    response_model=None,
    responses=answers(ClaimDocument),
    openapi_extra=VIEWER,
)
async def get_claim(
    topology: TheTopology, bucket: BucketInPath, value: ValueInPath
) -> dict[str, Any]:
    """Return the claim of a value, with the cell that owns it. 404: nobody does."""
    claim = await run_in_threadpool(topology.claims.get, bucket, value)
    return claim.as_dict()
