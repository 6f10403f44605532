"""``/v1/topology``: all cells and rulesets as one document, to read and to apply."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.responses import Response

from control_plane.api.auth import OPERATOR, VIEWER
from control_plane.api.long_work import TheWork
from control_plane.api.parameters import CONDITIONAL, Why
from control_plane.api.problem import ProblemError, findings_problem
from control_plane.api.rendering import rendered
from control_plane.api.schemas.answers import NOT_MODIFIED, answers
from control_plane.api.schemas.cells import NOT_DECLARED, CellBody
from control_plane.api.schemas.topology import TopologyBody, TopologyDocument, TopologyWritten
from control_plane.api.state import TheTopology
from control_plane.api.write import RequestedWrite, WriteOptions
from control_plane.routing.rules.document import load, read_stored
from control_plane.routing.rules.lint import lint
from control_plane.topology import Topology
from control_plane.topology.maintenance.desired import Desired, text_of
from control_plane.topology.values.cell import Cell, CellSpec
from control_plane.topology.values.change import TopologySnapshot, Written

router = APIRouter(prefix="/v1/topology", tags=["topology"])


def _declared(cell: Cell) -> dict[str, Any]:
    return {key: value for key, value in cell.as_dict().items() if key not in NOT_DECLARED}


@router.get(
    "",
    responses=answers(TopologyDocument) | NOT_MODIFIED,
    dependencies=[CONDITIONAL],
    openapi_extra=VIEWER,
)
async def get_topology(topology: TheTopology, work: TheWork) -> Response:
    """Return all cells and rulesets as of one revision, which is the ETag."""
    return await work(lambda: _whole(topology))


def _whole(topology: Topology) -> Response:
    snapshot = topology.snapshot()
    versions = topology.rulesets.versions()
    active = snapshot.ruleset
    documents = {one.name: read_stored(one.document) for one in versions}
    if active is not None:
        documents[active.name] = read_stored(active.document)
    body = {
        "revision": snapshot.revision,
        "cells": [_declared(cell) for cell in snapshot.cells],
        "rulesets": documents,
        "active": active.name if active else None,
    }
    return rendered(body, headers={"etag": f'"{snapshot.revision}"'})


@router.put("", responses=answers(TopologyWritten), openapi_extra=OPERATOR)
async def put_topology(
    topology: TheTopology,
    body: TopologyBody,
    write: WriteOptions,
    work: TheWork,
    reason: Why = None,
) -> JSONResponse:
    """Make cells and rulesets as the document says: everything or nothing, under one revision.

    If-Match is optional: the revision that the document was made from. 412: a cell or a ruleset
    was changed since. With ``dry_run`` the answer is a plan. Cells that the document doesn't name
    stay, unless ``prune`` is true.
    """
    written, document = await work(lambda: _put(topology, body, write, reason))
    return await write.answer(written, document, etag=written.revision)


def _put(
    topology: Topology, body: TopologyBody, write: RequestedWrite, reason: str | None
) -> tuple[Written[None], dict[str, Any]]:
    snapshot = topology.snapshot()
    written, base = _apply(topology, snapshot, body, write, reason)
    named = {str(cell.get("name")) for cell in body.cells}
    document = {
        "changed": [change.as_dict() for change in written.changes],
        "unmanaged": sorted(cell.name for cell in snapshot.cells if cell.name not in named),
        "base_revision": base,
    }
    return written, document


def _apply(
    topology: Topology,
    snapshot: TopologySnapshot,
    body: TopologyBody,
    write: RequestedWrite,
    reason: str | None,
) -> tuple[Written[None], int]:
    for document in body.rulesets.values():
        # Before it is compared with what is stored: what is no JSON can't be.
        load(document)
    specs = _specs(snapshot, body.cells)
    desired = Desired(specs, body.rulesets, body.active, body.prune)
    base = snapshot.revision
    expected = write.match()
    if expected is not None:
        # Attributes that the document leaves out come from the snapshot, so neither revision may
        # have been overtaken.
        base = min(base, expected)
    apply = partial(
        topology.desired.apply,
        desired,
        base=base,
        actor=write.actor,
        force=write.force,
        reason=reason,
    )
    written = apply(dry_run=True)
    _check_rulesets(snapshot, desired, written)
    if not write.dry_run and written.changes:
        written = apply()
    return written, base


def _specs(snapshot: TopologySnapshot, cells: list[dict[str, Any]]) -> list[CellSpec]:
    """Return the cells as they are to be. What the document leaves out stays as it is stored."""
    stored = {cell.name: _declared(cell) for cell in snapshot.cells}
    specs: dict[str, CellSpec] = {}
    for number, cell in enumerate(cells):
        name = cell.get("name")
        where = name if isinstance(name, str) else str(number)
        try:
            spec = CellBody.model_validate({**stored.get(where, {}), **cell}).spec()
        except ValidationError as error:
            errors = [{**one, "loc": ("cells", where, *one["loc"])} for one in error.errors()]
            raise RequestValidationError(errors) from error
        if spec.name in specs:
            raise ProblemError(422, f"cell {spec.name} is there twice; keep one", code="invalid")
        specs[spec.name] = spec
    return list(specs.values())


def _check_rulesets(snapshot: TopologySnapshot, desired: Desired, planned: Written[None]) -> None:
    """Check that each ruleset works with the cells that there will be.

    Raises:
        ProblemError: (422) A ruleset doesn't.
    """
    after = {cell.name: cell for cell in snapshot.cells}
    for change in planned.changes:
        if change.kind == "cell" and change.after is None:
            after.pop(change.key, None)
        elif change.kind == "cell" and change.after is not None:
            after[change.key] = _cell(change.after)
    for document in desired.rulesets.values():
        findings = lint(text_of(document), after.values())
        if any(finding.severity == "error" for finding in findings):
            raise findings_problem(findings)


def _cell(stored: dict[str, Any] | Any) -> Cell:
    declared = {key: value for key, value in stored.items() if key not in NOT_DECLARED}
    spec = CellBody.model_validate(declared).spec()
    return Cell(
        stored["id"], spec.name, spec.address, spec.endpoints, spec.tls, spec.health_check_path,
        spec.session_prefix, spec.sequence_ranges, spec.labels, spec.state, spec.weight,
        stored["healthy"], stored["version"],
    )  # fmt: skip
