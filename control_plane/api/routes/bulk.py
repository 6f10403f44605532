"""``/v1/claims/import`` and ``/export``: claims as NDJSON, a bounded number of lines a call."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, Response

from control_plane.api import paging
from control_plane.api.auth import OPERATOR, VIEWER
from control_plane.api.long_work import TheWork
from control_plane.api.middleware.media_type import also_takes
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
BYTES = "application/octet-stream"
"""The same lines, for clients that know no NDJSON: generators make none that does."""
MAX_EXPORT = 10_000
_FILE = {"type": "string", "format": "binary"}
# Any bytes are taken, since a line that is wrong is answered in `rejects`.
_LINES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"a claim on each line, in JSON; it may be sent as {NDJSON} too",
        "content": {BYTES: {"schema": _FILE}},
    }
}
_EXPORTED: dict[str, Any] = {
    "description": f"claims; go on with `after` = the header {NEXT_HEADER}",
    "content": {NDJSON: {"schema": {"type": "string"}}, BYTES: {"schema": _FILE}},
}


@router.post(
    "/import",
    responses=answers(ImportDone),
    openapi_extra=_LINES | OPERATOR | also_takes(NDJSON),
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
    accept: Annotated[str, Header(include_in_schema=False)] = NDJSON,
    limit: Annotated[
        int, Query(ge=1, le=MAX_EXPORT, description="how many lines at most")
    ] = MAX_EXPORT,
) -> Response:
    """Return claims by key, one a line. A page is as of one moment, but the pages are not.

    For the next page, send the header ``X-Cellway-Next`` as ``after``.
    """
    # The empty key comes before all others. Without any bound, PostgreSQL would sort all claims.
    key = paging.decode(after, 2) or ["", ""]

    media_type = BYTES if BYTES in accept and NDJSON not in accept else NDJSON

    def page() -> Response:
        lines = list(topology.bulk.export((key[0], key[1]), limit))
        next_key = last_key(lines[-1]) if len(lines) == limit else None
        headers = {NEXT_HEADER: paging.encode(list(next_key))} if next_key else {}
        return Response("".join(lines), media_type=media_type, headers=headers)

    return await work(page)
