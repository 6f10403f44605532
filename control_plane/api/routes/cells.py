"""``/v1/cells``."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from control_plane.api.auth import ADMIN, OPERATOR, VIEWER
from control_plane.api.background import Operations
from control_plane.api.routes.operations import accepted, would_do
from control_plane.api.schemas.operator_responses import OperationStarted
from control_plane.api.schemas.requests import CellBody, ReasonBody
from control_plane.api.schemas.responses import CellDocument, CellList, CellWritten, answers
from control_plane.api.write import WriteOptions
from control_plane.topology import Topology
from control_plane.topology.values.cell import Cell
from control_plane.topology.values.errors import StaleVersion

router = APIRouter(prefix="/v1/cells", tags=["cells"])


def _topology(request: Request) -> Topology:
    topology: Topology = request.app.state.topology
    return topology


def _document(cell: Cell) -> dict[str, Any]:
    return {**cell.as_dict(), "serving": cell.serving, "accepts_new": cell.accepts_new}


@router.get("", response_model=None, responses=answers(CellList), openapi_extra=VIEWER)
async def list_cells(request: Request) -> dict[str, Any]:
    """Every cell, by id."""
    cells = await run_in_threadpool(_topology(request).cells.all)
    return {"items": [_document(cell) for cell in cells], "next": None}


@router.post("", status_code=201, responses=answers(CellWritten, 200, 201), openapi_extra=OPERATOR)
async def create_cell(request: Request, body: CellBody, write: WriteOptions) -> JSONResponse:
    """Add a cell."""
    written = await run_in_threadpool(
        _topology(request).cells.create, body.spec(), actor=write.actor, dry_run=write.dry_run
    )
    response = await write.answer(
        written, {"cell": _document(written.value)}, status=201, etag=written.value.version
    )
    response.headers["location"] = f"/v1/cells/{written.value.name}"
    return response


@router.get("/{name}", responses=answers(CellDocument), openapi_extra=VIEWER)
async def get_cell(request: Request, name: str) -> JSONResponse:
    """One cell, with its ETag."""
    cell = await run_in_threadpool(_topology(request).cells.get, name)
    return JSONResponse(_document(cell), headers={"etag": f'"{cell.version}"'})


@router.put("/{name}", responses=answers(CellWritten), openapi_extra=OPERATOR)
async def replace_cell(
    request: Request, name: str, body: CellBody, write: WriteOptions
) -> JSONResponse:
    """Replace a cell's attributes; needs If-Match."""
    return await _update(request, name, body, write)


@router.patch("/{name}", responses=answers(CellWritten), openapi_extra=OPERATOR)
async def patch_cell(
    request: Request, name: str, patch: Annotated[dict[str, Any], Body()], write: WriteOptions
) -> JSONResponse:
    """Change some attributes (JSON merge patch, RFC 7396, one level deep); needs If-Match."""
    current = await run_in_threadpool(_topology(request).cells.get, name)
    document = {
        key: value for key, value in current.as_dict().items() if key not in {"version", "healthy"}
    }
    try:
        body = CellBody.model_validate({**document, **patch})
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
    return await _update(request, name, body, write)


async def _update(request: Request, name: str, body: CellBody, write: WriteOptions) -> JSONResponse:
    written = await run_in_threadpool(
        _topology(request).cells.replace,
        name,
        body.spec(),
        actor=write.actor,
        expected_version=write.need_match(),
        force=write.force,
        dry_run=write.dry_run,
    )
    return await write.answer(
        written, {"cell": _document(written.value)}, etag=written.value.version
    )


@router.delete("/{name}", responses=answers(CellWritten), openapi_extra=OPERATOR)
async def delete_cell(request: Request, name: str, write: WriteOptions) -> JSONResponse:
    """Delete a retired cell without claims; needs If-Match."""
    written = await run_in_threadpool(
        _topology(request).cells.remove,
        name,
        actor=write.actor,
        expected_version=write.need_match(),
        dry_run=write.dry_run,
    )
    return await write.answer(written, {"cell": _document(written.value)}, etag=None)


@router.post(
    "/{name}/release-claims",
    status_code=202,
    responses=answers(OperationStarted, 200, 202),
    openapi_extra=ADMIN,
)
async def release_all_claims(
    request: Request, name: str, body: ReasonBody, write: WriteOptions
) -> JSONResponse:
    """Free all claims of a retired cell, in bounded batches: an operation. If-Match: its ETag."""
    topology = _topology(request)
    cell = await run_in_threadpool(topology.cells.get, name)
    expected = write.match()
    if expected is not None and expected != cell.version:
        raise StaleVersion("cell", name, expected, cell.version)
    given: dict[str, Any] = {"reason": body.reason, "actor": write.actor}
    await run_in_threadpool(partial(topology.releases.check, name, **given))
    total = await run_in_threadpool(topology.claims.count_of, name)
    if write.dry_run:
        return would_do("release-claims", name, total)
    operations: Operations = request.app.state.operations
    work = partial(topology.releases.release_all, name, **given)
    begun = await operations.start(
        "release-claims", name, total, lambda progress: work(progress=progress), actor=write.actor
    )
    return accepted(begun)
