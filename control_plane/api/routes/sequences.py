"""``/v1/sequences`` and each cell's: ranges of ids that no two cells ever share."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from control_plane.api.auth import ADMIN, OPERATOR, VIEWER
from control_plane.api.schemas.operator_responses import (
    Allotted,
    CellSequences,
    MarkDocument,
    SequenceList,
    SequenceUseDocument,
)
from control_plane.api.schemas.requests import AllotBody, ReportBody
from control_plane.api.schemas.responses import answers
from control_plane.api.write import WriteOptions
from control_plane.topology import Topology
from control_plane.topology.values.sequence import HighWaterMark, SequenceUse

router = APIRouter(prefix="/v1", tags=["sequences"])


def _topology(request: Request) -> Topology:
    topology: Topology = request.app.state.topology
    return topology


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
async def list_sequences(request: Request) -> dict[str, Any]:
    """How far each cell's ranges are used, and the high-water marks."""
    topology = _topology(request)
    uses = await run_in_threadpool(topology.sequences.uses)
    mark = await run_in_threadpool(topology.sequences.high_water_mark)
    return {"items": [_use(use) for use in uses], "mark": _mark(mark)}


@router.post(
    "/sequences/confirm", response_model=None, responses=answers(MarkDocument), openapi_extra=ADMIN
)
async def confirm(request: Request, write: WriteOptions) -> dict[str, Any]:
    """After a restore: take the mark file as true; ids are allotted only above it from now on."""
    topology = _topology(request)
    if write.dry_run:
        return _mark(await run_in_threadpool(topology.sequences.high_water_mark))
    return _mark(await run_in_threadpool(topology.sequences.confirm, actor=write.actor))


@router.get(
    "/cells/{name}/sequences",
    response_model=None,
    responses=answers(CellSequences),
    openapi_extra=VIEWER,
)
async def cell_sequences(request: Request, name: str) -> dict[str, Any]:
    """A cell's ranges, and how far they are used."""
    topology = _topology(request)
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
async def allot(request: Request, name: str, body: AllotBody, write: WriteOptions) -> JSONResponse:
    """Give a cell the next range, after all that was ever allotted. If-Match: the cell's ETag."""
    written = await run_in_threadpool(
        _topology(request).sequences.allot,
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
    request: Request, name: str, body: ReportBody, write: WriteOptions
) -> dict[str, Any]:
    """Note the highest id that a cell has handed out, so that exhaustion is seen coming."""
    topology = _topology(request)
    given: dict[str, Any] = {"actor": write.actor, "dry_run": write.dry_run}
    return _use(await run_in_threadpool(topology.sequences.report, name, body.last, **given))
