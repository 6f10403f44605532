"""``/v1/cells``: the cells, and their whole life."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from control_plane.api.auth import ADMIN, OPERATOR, VIEWER
from control_plane.api.long_work import TheWork
from control_plane.api.parameters import CONDITIONAL, CellInPath, Why
from control_plane.api.rendering import rendered
from control_plane.api.routes.operations import accepted, would_do
from control_plane.api.schemas.answers import NOT_MODIFIED, answers
from control_plane.api.schemas.cells import (
    NOT_DECLARED,
    CellBody,
    CellDocument,
    CellList,
    CellWritten,
)
from control_plane.api.schemas.fields import ReasonBody
from control_plane.api.schemas.operations import OperationStarted
from control_plane.api.state import TheOperations, TheTopology
from control_plane.api.write import WriteOptions
from control_plane.topology import Topology
from control_plane.topology.values.cell import Cell
from control_plane.topology.values.change import Written
from control_plane.topology.values.errors import EdgesBehind, StaleVersion

router = APIRouter(prefix="/v1/cells", tags=["cells"])
EDGES_LATE_S = 2.0
"""How long a cell's retirement waits for reports of Envoys, which come at least so often."""
EDGES_AGAIN_S = 0.1


def _document(cell: Cell) -> dict[str, Any]:
    new = {"takes_new": cell.takes_new, "accepts_new": cell.accepts_new}
    return {**cell.as_dict(), "serving": cell.serving, **new}


@router.get("", response_model=None, responses=answers(CellList), openapi_extra=VIEWER)
async def list_cells(topology: TheTopology, work: TheWork) -> Response:
    """List all cells by id."""

    def read() -> Response:
        items = [_document(cell) for cell in topology.cells.all()]
        return rendered({"items": items, "next": None})

    return await work(read)


@router.post("", status_code=201, responses=answers(CellWritten, 200, 201), openapi_extra=OPERATOR)
async def create_cell(topology: TheTopology, body: CellBody, write: WriteOptions) -> JSONResponse:
    """Add a cell. 409: its name, its id or its session prefix is taken."""
    written = await run_in_threadpool(
        topology.cells.create, body.spec(), actor=write.actor, dry_run=write.dry_run
    )
    response = await write.answer(
        written, {"cell": _document(written.value)}, status=201, etag=written.value.version
    )
    response.headers["location"] = f"/v1/cells/{written.value.name}"
    return response


@router.get(
    "/{name}",
    responses=answers(CellDocument) | NOT_MODIFIED,
    dependencies=[CONDITIONAL],
    openapi_extra=VIEWER,
)
async def get_cell(topology: TheTopology, name: CellInPath) -> JSONResponse:
    """Return a cell, with its ETag."""
    cell = await run_in_threadpool(topology.cells.get, name)
    return JSONResponse(_document(cell), headers={"etag": f'"{cell.version}"'})


@router.put("/{name}", responses=answers(CellWritten), openapi_extra=OPERATOR)
async def replace_cell(
    topology: TheTopology, name: CellInPath, body: CellBody, write: WriteOptions, reason: Why = None
) -> JSONResponse:
    """Replace all attributes of a cell.

    If-Match is required: the cell's ETag, or ``*``. 412: the cell was changed since. 409: a guard
    refuses the change; ``force`` overrides it.
    """
    return await _update(topology, name, body, write, reason)


@router.patch("/{name}", responses=answers(CellWritten), openapi_extra=OPERATOR)
async def patch_cell(
    topology: TheTopology,
    name: CellInPath,
    patch: Annotated[dict[str, Any], Body(description="attributes of a cell")],
    write: WriteOptions,
    reason: Why = None,
) -> JSONResponse:
    """Change some attributes of a cell (JSON merge patch, RFC 7396, one level deep).

    If-Match is required: the cell's ETag, or ``*``. 412: the cell was changed since. 409: a guard
    refuses the change; ``force`` overrides it.
    """
    current = await run_in_threadpool(topology.cells.get, name)
    document = {key: value for key, value in current.as_dict().items() if key not in NOT_DECLARED}
    try:
        body = CellBody.model_validate({**document, **patch})
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
    return await _update(topology, name, body, write, reason)


async def _update(
    topology: Topology, name: str, body: CellBody, write: WriteOptions, reason: str | None
) -> JSONResponse:
    replace = partial(
        topology.cells.replace,
        name,
        body.spec(),
        actor=write.actor,
        expected_version=write.need_match(),
        force=write.force,
        reason=reason,
        dry_run=write.dry_run,
    )
    written = await _once_edges_know(replace)
    return await write.answer(
        written, {"cell": _document(written.value)}, etag=written.value.version
    )


async def _once_edges_know(replace: Callable[[], Written[Cell]]) -> Written[Cell]:
    """Do a write that Envoys may be behind for a moment, because their reports come late."""
    deadline = time.monotonic() + EDGES_LATE_S
    while True:
        try:
            return await run_in_threadpool(replace)
        except EdgesBehind:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(EDGES_AGAIN_S)


@router.delete("/{name}", responses=answers(CellWritten), openapi_extra=OPERATOR)
async def delete_cell(
    topology: TheTopology, name: CellInPath, write: WriteOptions, reason: Why = None
) -> JSONResponse:
    """Delete a cell, which must be retired and have no claims.

    If-Match is required: the cell's ETag, or ``*``. 412: the cell was changed since.
    """
    written = await run_in_threadpool(
        topology.cells.remove,
        name,
        actor=write.actor,
        expected_version=write.need_match(),
        reason=reason,
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
    topology: TheTopology,
    operations: TheOperations,
    name: CellInPath,
    body: ReasonBody,
    write: WriteOptions,
) -> JSONResponse:
    """Release all claims of a retired cell, in bounded batches.

    It begins an operation, and answers 202 with the place to ask how far that is. If-Match is
    optional: the cell's ETag.
    """
    cell = await run_in_threadpool(topology.cells.get, name)
    expected = write.match()
    if expected is not None and expected != cell.version:
        raise StaleVersion("cell", name, expected, cell.version)
    options: dict[str, Any] = {"reason": body.reason, "actor": write.actor}
    await run_in_threadpool(partial(topology.releases.check, name, **options))
    total = await run_in_threadpool(topology.claims.count_of, name)
    if write.dry_run:
        return would_do("release-claims", name, total)
    work = partial(topology.releases.release_all, name, **options)
    operation = await operations.start(
        "release-claims", name, total, lambda progress: work(progress=progress), actor=write.actor
    )
    return accepted(operation)
