"""``/v1/claims/import`` and ``/export``: claims as NDJSON, a bounded piece a call."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool

from control_plane.api import paging
from control_plane.api.auth import OPERATOR, VIEWER
from control_plane.api.problem import ProblemError
from control_plane.api.schemas.responses import ImportDone, answers
from control_plane.api.write import WriteOptions
from control_plane.names import NEXT_HEADER
from control_plane.topology import Imported, Reject, Topology
from control_plane.topology.claims.bulk import LINES_PER_TRANSACTION
from control_plane.topology.claims.bulk_lines import last_key
from control_plane.topology.values.change import Written

router = APIRouter(prefix="/v1/claims", tags=["claims"])
NDJSON = "application/x-ndjson"
MAX_EXPORT = 10_000
# Any bytes are lines: what is wrong with one is told in `rejects`.
_LINES: dict[str, Any] = {"required": True, "content": {NDJSON: {"schema": {}}}}
_EXPORTED: dict[str, Any] = {
    "description": f"claims; go on with `after` = the header {NEXT_HEADER}",
    "content": {NDJSON: {"schema": {"type": "string"}}},
}


@router.post(
    "/import",
    responses=answers(ImportDone),
    openapi_extra={"requestBody": _LINES, **OPERATOR},
)
async def import_claims(
    request: Request,
    write: WriteOptions,
    first_line: Annotated[int, Query(ge=1, lt=2**63, description="number of the first line")] = 1,
) -> JSONResponse:
    """Claim what the lines say, in one transaction: at most 5,000 lines (and 2 MiB).

    A claim that stands as its line says is ``present``, so that lines may be sent again. What can't
    be taken is in ``rejects``, with its reason; the other lines are taken all the same.
    """
    topology: Topology = request.app.state.topology
    try:
        lines = (await request.body()).decode().split("\n")
    except UnicodeDecodeError as error:
        raise ProblemError(422, f"the body is not UTF-8: {error}", code="invalid") from error
    if len(lines) > LINES_PER_TRANSACTION + 1:
        detail = f"{len(lines)} lines; send at most {LINES_PER_TRANSACTION} at a time"
        raise ProblemError(422, detail, code="invalid")
    rejects: list[Reject] = []
    done: Imported = await run_in_threadpool(
        topology.bulk.import_,
        lines,
        actor=write.actor,
        reject=rejects.append,
        progress=lambda _: None,
        dry_run=write.dry_run,
    )
    revision = await run_in_threadpool(topology.revision)
    shown = [{**one.as_dict(), "line": one.line + first_line - 1} for one in rejects]
    body = {"created": done.created, "present": done.present, "rejected": done.rejected}
    return await write.answer(Written(done, revision, ()), {**body, "rejects": shown}, etag=None)


@router.get("/export", responses={200: _EXPORTED}, response_class=Response, openapi_extra=VIEWER)
async def export_claims(
    request: Request,
    after: Annotated[str | SkipJsonSchema[None], Query(max_length=paging.MAX_CURSOR_CHARS)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_EXPORT)] = MAX_EXPORT,
) -> Response:
    """Claims in the order of keys, one a line. Each page is as of one moment, not all of them."""
    # Before the first key: a page that has no bound is sorted anew by PostgreSQL.
    key = paging.decode(after, 2) or ["", ""]
    topology: Topology = request.app.state.topology

    def page() -> tuple[str, tuple[str, str] | None]:
        found = list(topology.bulk.export((key[0], key[1]), limit))
        return "".join(found), last_key(found[-1]) if len(found) == limit else None

    text, following = await run_in_threadpool(page)
    headers = {NEXT_HEADER: paging.encode(list(following))} if following else {}
    return Response(text, media_type=NDJSON, headers=headers)
