"""``/v1/claims/import`` and ``/export``: claims as NDJSON, a bounded number of lines a call."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from control_plane.api import paging
from control_plane.api.auth import OPERATOR, VIEWER
from control_plane.api.long_work import TheWork
from control_plane.api.paging import Cursor
from control_plane.api.problem import ProblemError
from control_plane.api.schemas.answers import answers
from control_plane.api.schemas.claims import ImportDone
from control_plane.api.state import TheTopology
from control_plane.api.write import WriteOptions
from control_plane.names import NEXT_HEADER
from control_plane.topology import Imported, Reject
from control_plane.topology.claims.bulk import LINES_PER_TRANSACTION
from control_plane.topology.claims.bulk_lines import last_key
from control_plane.topology.values.change import Written

router = APIRouter(prefix="/v1/claims", tags=["claims"])
NDJSON = "application/x-ndjson"
MAX_EXPORT = 10_000
# The schema takes any bytes, since a line that is wrong is answered in `rejects`.
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
    topology: TheTopology,
    write: WriteOptions,
    work: TheWork,
    first_line: Annotated[int, Query(ge=1, lt=2**63, description="number of the first line")] = 1,
) -> JSONResponse:
    """Claim what the lines say, in one transaction: at most 5,000 lines and 2 MiB.

    A claim that exists already as its line says counts as ``present``, so lines may be sent again.
    Lines that can't be taken are listed in ``rejects`` with the reason, and the others are taken
    all the same.
    """
    sent = await request.body()
    rejects: list[Reject] = []

    def take() -> tuple[Imported, int]:
        imported = topology.bulk.import_(
            _lines(sent),
            actor=write.actor,
            reject=rejects.append,
            progress=lambda _: None,
            dry_run=write.dry_run,
        )
        return imported, topology.revision()

    imported, revision = await work(take)
    shown = [{**one.as_dict(), "line": one.line + first_line - 1} for one in rejects]
    body = {
        "created": imported.created,
        "present": imported.present,
        "rejected": imported.rejected,
    }
    return await write.answer(
        Written(imported, revision, ()), {**body, "rejects": shown}, etag=None
    )


def _lines(body: bytes) -> list[str]:
    """Return the lines of a body; raise `ProblemError` (422) if it is not UTF-8 or too long."""
    # Counted first: two million empty lines are as many texts.
    count = body.count(b"\n") + 1
    # The last line ends with a line break, after which split() sees an empty one.
    if count > LINES_PER_TRANSACTION + 1:
        detail = f"{count} lines; send at most {LINES_PER_TRANSACTION} at a time"
        raise ProblemError(422, detail, code="invalid")
    try:
        return body.decode().split("\n")
    except UnicodeDecodeError as error:
        raise ProblemError(422, f"the body is not UTF-8: {error}", code="invalid") from error


@router.get("/export", responses={200: _EXPORTED}, response_class=Response, openapi_extra=VIEWER)
async def export_claims(
    topology: TheTopology,
    work: TheWork,
    after: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=MAX_EXPORT)] = MAX_EXPORT,
) -> Response:
    """Return claims by key, one a line. A page is as of one moment, but the pages are not.

    For the next page, send the header ``X-Cellway-Next`` as ``after``.
    """
    # The empty key comes before all others. Without any bound, PostgreSQL would sort all claims.
    key = paging.decode(after, 2) or ["", ""]

    def page() -> Response:
        lines = list(topology.bulk.export((key[0], key[1]), limit))
        next_key = last_key(lines[-1]) if len(lines) == limit else None
        headers = {NEXT_HEADER: paging.encode(list(next_key))} if next_key else {}
        return Response("".join(lines), media_type=NDJSON, headers=headers)

    return await work(page)
