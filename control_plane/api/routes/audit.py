"""``/v1/audit``: who did what, to one claim or to anything."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool

from control_plane.api import paging
from control_plane.api.auth import VIEWER
from control_plane.api.problem import ProblemError
from control_plane.api.schemas.responses import AuditList, answers
from control_plane.names import MAX_PAGE
from control_plane.topology import Topology

router = APIRouter(prefix="/v1", tags=["audit"])


@router.get("/audit", response_model=None, responses=answers(AuditList), openapi_extra=VIEWER)
async def audit(
    request: Request,
    bucket: Annotated[str | SkipJsonSchema[None], Query(max_length=64)] = None,
    value: Annotated[str | SkipJsonSchema[None], Query(max_length=1024)] = None,
    kind: Annotated[str | SkipJsonSchema[None], Query(max_length=16)] = None,
    actor: Annotated[str | SkipJsonSchema[None], Query(max_length=256)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    cursor: Annotated[str | SkipJsonSchema[None], Query(max_length=paging.MAX_CURSOR_CHARS)] = None,
) -> dict[str, Any]:
    """The newest changes first; of one claim (bucket and value) with what became of its leases.

    As far as the change feed reaches back. A page may be short, and more follow: ``next`` says so.
    """
    topology: Topology = request.app.state.topology
    before = paging.decode_pair(cursor)
    if (bucket is None) != (value is None):
        raise ProblemError(422, "give bucket and value, or neither", code="invalid")
    if bucket is None or value is None:
        found, following = await run_in_threadpool(
            topology.changes.newest, kind=kind, actor=actor, before=before, limit=limit
        )
    else:
        if kind is not None or actor is not None:
            raise ProblemError(422, "kind and actor don't go with a claim", code="invalid")
        found = await run_in_threadpool(
            topology.claims.audit, bucket, value, before=before[0] if before else None, limit=limit
        )
        own = [change.revision for change in found if change.kind == "claim"]
        following = (own[0], 0) if len(own) == limit else None
        found.reverse()
    return {
        "items": [change.as_dict() for change in found],
        "next": paging.encode([str(part) for part in following]) if following else None,
        # Read after the page: what was pruned meanwhile isn't told as kept.
        "oldest": await run_in_threadpool(topology.changes.oldest),
    }
