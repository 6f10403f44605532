"""``/v1/audit``: who changed what, of one claim or of everything."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic.json_schema import SkipJsonSchema
from starlette.responses import Response

from control_plane.api import paging
from control_plane.api.auth import VIEWER
from control_plane.api.long_work import TheWork
from control_plane.api.paging import Cursor
from control_plane.api.parameters import PageLimit
from control_plane.api.problem import ProblemError
from control_plane.api.rendering import rendered
from control_plane.api.schemas.answers import answers
from control_plane.api.schemas.changes import AuditList
from control_plane.api.state import TheTopology
from control_plane.topology import Topology
from control_plane.topology.values.change import Change
from control_plane.topology.values.claim_key import ClaimKey

router = APIRouter(prefix="/v1", tags=["audit"])


@router.get("/audit", response_model=None, responses=answers(AuditList), openapi_extra=VIEWER)
async def audit(
    topology: TheTopology,
    work: TheWork,
    bucket: Annotated[
        str | SkipJsonSchema[None],
        Query(max_length=64, description="the bucket of a claim; with value"),
    ] = None,
    value: Annotated[
        str | SkipJsonSchema[None],
        Query(max_length=1024, description="the value of a claim; with bucket"),
    ] = None,
    kind: Annotated[
        str | SkipJsonSchema[None],
        Query(max_length=16, description="only changes of this kind, for example cell"),
    ] = None,
    actor: Annotated[
        str | SkipJsonSchema[None], Query(max_length=256, description="only changes of this actor")
    ] = None,
    limit: PageLimit = 100,
    cursor: Cursor = None,
) -> Response:
    """List changes, the newest first; with ``bucket`` and ``value``, those of one claim.

    The list of a claim shows what became of its leases too. Lists go back as far as the change feed
    does (``oldest``). A page may be short although more follow: there are more as long as ``next``
    is set.
    """
    before = paging.decode_pair(cursor)
    if (bucket is None) != (value is None):
        raise ProblemError(422, "give bucket and value, or neither", code="invalid")
    if bucket is not None and (kind is not None or actor is not None):
        raise ProblemError(422, "kind and actor don't go with a claim", code="invalid")

    def read() -> Response:
        if bucket is None or value is None:
            page, next_key = topology.changes.newest(
                kind=kind, actor=actor, before=before, limit=limit
            )
        else:
            first = before[0] if before else None
            page, next_key = _of_claim(topology, ClaimKey(bucket, value), first, limit)
        document = {
            "items": [change.as_dict() for change in page],
            "next": paging.encode([str(part) for part in next_key]) if next_key else None,
            # Read after the page: changes that were deleted meanwhile must not count as kept.
            "oldest": topology.changes.oldest(),
        }
        return rendered(document)

    return await work(read)


def _of_claim(
    topology: Topology, key: ClaimKey, before: int | None, limit: int
) -> tuple[list[Change], tuple[int, int] | None]:
    """Return a page of a claim's changes, the newest first, and the place of the next page."""
    changes = topology.claims.audit(key.bucket, key.value, before=before, limit=limit)
    # Entries about its leases don't count for the limit.
    own = [change.revision for change in changes if change.kind == "claim"]
    return changes[::-1], (own[0], 0) if len(own) == limit else None
