"""``/v1/sequences`` and ``/v1/cells/…/sequences``: ranges of ids, which no two cells share."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from control_plane.api.auth import ADMIN, OPERATOR, VIEWER
from control_plane.api.long_work import TheWork
from control_plane.api.parameters import CellInPath
from control_plane.api.rendering import rendered
from control_plane.api.schemas.answers import answers
from control_plane.api.schemas.sequences import (
    AllotBody,
    Allotted,
    CellSequences,
    MarkDocument,
    ReportBody,
    SequenceList,
    SequenceUseDocument,
)
from control_plane.api.state import TheTopology
from control_plane.api.write import WriteOptions
from control_plane.topology.values.sequence import HighWaterMark, SequenceUse

router = APIRouter(prefix="/v1", tags=["sequences"])


def _use(use: SequenceUse) -> dict[str, Any]:
    return {
        "cell": use.cell,
        "allotted": use.allotted,
        "used": use.used,
        "share": use.share,
        "alarming": use.alarming,
    }


def _mark(mark: HighWaterMark) -> dict[str, Any]:
    return {
        "mark": mark.mark,
        "floor": mark.floor,
        "outside": mark.outside,
        "restored": mark.restored,
    }


@router.get(
    "/sequences", response_model=None, responses=answers(SequenceList), openapi_extra=VIEWER
)
async def list_sequences(topology: TheTopology, work: TheWork) -> Response:
    """List how far each cell's ranges are used, and the high-water marks."""

    def read() -> Response:
        items = [_use(use) for use in topology.sequences.uses()]
        return rendered({"items": items, "mark": _mark(topology.sequences.high_water_mark())})

    return await work(read)


@router.post(
    "/sequences/confirm", response_model=None, responses=answers(MarkDocument), openapi_extra=ADMIN
)
async def confirm(topology: TheTopology, write: WriteOptions) -> dict[str, Any]:
    """Confirm the mark file after the database was restored.

    From then on, ids are allotted only above the file's mark.
    """
    if write.dry_run:
        return _mark(await run_in_threadpool(topology.sequences.high_water_mark))
    return _mark(await run_in_threadpool(topology.sequences.confirm, actor=write.actor))


@router.get(
    "/cells/{name}/sequences",
    response_model=None,
    responses=answers(CellSequences),
    openapi_extra=VIEWER,
)
async def cell_sequences(topology: TheTopology, name: CellInPath) -> dict[str, Any]:
    """Return a cell's ranges, and how far they are used."""
    cell = await run_in_threadpool(topology.cells.get, name)
    uses = await run_in_threadpool(topology.sequences.uses)
    use = next((one for one in uses if one.cell == name), SequenceUse(name, 0, 0))
    ranges = [{"minval": span.minval, "maxval": span.maxval} for span in cell.sequence_ranges]
    return {**_use(use), "ranges": ranges}


@router.post(
    "/cells/{name}/sequences",
    status_code=201,
    responses=answers(Allotted, 200, 201),
    openapi_extra=OPERATOR,
)
async def allot(
    topology: TheTopology, name: CellInPath, body: AllotBody, write: WriteOptions
) -> JSONResponse:
    """Give a cell the next range of ids, above all that was ever allotted.

    If-Match is optional: the cell's ETag.
    """
    written = await run_in_threadpool(
        topology.sequences.allot,
        name,
        body.size,
        actor=write.actor,
        expected_version=write.match(),
        dry_run=write.dry_run,
    )
    span = {"minval": written.value.minval, "maxval": written.value.maxval}
    return await write.answer(
        written, {"cell": name, "range": span}, status=201, etag=written.revision
    )


@router.post(
    "/cells/{name}/sequences/report",
    response_model=None,
    responses=answers(SequenceUseDocument),
    openapi_extra=OPERATOR,
)
async def report(
    topology: TheTopology, name: CellInPath, body: ReportBody, write: WriteOptions
) -> dict[str, Any]:
    """Record the highest id that a cell has handed out.

    The cell's share of used ids, and its alarm before they run out, are counted from it.
    """
    use = await run_in_threadpool(
        topology.sequences.report,
        name,
        body.last,
        actor=write.actor,
        dry_run=write.dry_run,
    )
    return _use(use)
