"""``/v1/moves``: tenants that change their cell, step by step."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from control_plane.api import paging
from control_plane.api.auth import OPERATOR, VIEWER
from control_plane.api.long_work import TheWork
from control_plane.api.paging import Cursor
from control_plane.api.parameters import MoveInPath, PageLimit
from control_plane.api.problem import ProblemError
from control_plane.api.rendering import rendered
from control_plane.api.schemas.answers import answers
from control_plane.api.schemas.moves import (
    CertificateDocument,
    MoveBody,
    MoveDocument,
    MoveList,
    MoveReportBody,
    MoveWritten,
    StepBody,
    VerifiedBody,
)
from control_plane.api.state import TheState, TheTopology
from control_plane.api.write import RequestedWrite, WriteOptions
from control_plane.routing.rules.headers_seen import headers_seen
from control_plane.routing.rules.parse import parse
from control_plane.topology import Topology
from control_plane.topology.values.change import Written
from control_plane.topology.values.move import Move, MoveState, MoveStep
from control_plane.topology.values.move_certificate import as_markdown, certificate
from control_plane.topology.values.move_gates import (
    DRAINED,
    drained_of,
    next_steps,
    switch_problems,
)
from control_plane.xds.fleet.fleet import Fleet

router = APIRouter(prefix="/v1/moves", tags=["moves"])
StepInPath = Annotated[MoveStep, Path(description="the step to take")]
MAX_NODES = 2000
"""How many Envoys of this server a certificate names."""


def _document(move: Move) -> dict[str, Any]:
    blocked = switch_problems(move, datetime.now(UTC)) if move.state is MoveState.FROZEN else ()
    return {
        **move.as_dict(),
        "drained": DRAINED[drained_of(move)],
        "blocked_by": list(blocked),
        "next_steps": next_steps(move),
    }


@router.get("", response_model=None, responses=answers(MoveList), openapi_extra=VIEWER)
async def list_moves(
    topology: TheTopology, work: TheWork, limit: PageLimit = 100, cursor: Cursor = None
) -> Response:
    """List moves, the newest first. For the next page, send the answer's ``next`` as ``cursor``."""
    pair = paging.decode_pair(cursor)
    before = pair[0] if pair else None

    def read() -> Response:
        moves = topology.tenant_moves.page(before=before, limit=limit)
        more = len(moves) == limit
        document = {
            "items": [_document(move) for move in moves],
            "next": paging.encode([str(moves[-1].number), "0"]) if more else None,
        }
        return rendered(document)

    return await work(read)


@router.post("", status_code=201, responses=answers(MoveWritten, 200, 201), openapi_extra=OPERATOR)
async def plan_move(topology: TheTopology, body: MoveBody, write: WriteOptions) -> JSONResponse:
    """Plan a move. Nothing changes for requests. 409: another move has some of the claims."""
    await run_in_threadpool(_check_testers, topology, body)
    written = await run_in_threadpool(
        topology.tenant_moves.plan, body.plan(), actor=write.actor, dry_run=write.dry_run
    )
    move = written.value
    response = await write.answer(written, {"move": _document(move)}, status=201, etag=move.version)
    response.headers["location"] = f"/v1/moves/{move.number}"
    return response


def _check_testers(topology: Topology, body: MoveBody) -> None:
    """Raise `ProblemError` (422) if a test user is named by a header that edges tell nobody."""
    names = [one.name.lower() for one in body.testers if one.kind == "header"]
    stored = topology.rulesets.active() if names else None
    seen = headers_seen(parse(stored.document)) if stored is not None else None
    for name in names:
        if seen is not None and name not in seen:
            detail = f"no rule looks at the header {name}, so edges do not tell it: use a cookie"
            raise ProblemError(422, detail, code="invalid")


@router.get("/{move}", responses=answers(MoveDocument), openapi_extra=VIEWER)
async def get_move(topology: TheTopology, move: MoveInPath) -> JSONResponse:
    """Return a move, with its ETag, and with the steps that lead on."""
    found = await run_in_threadpool(topology.tenant_moves.get, move)
    return JSONResponse(_document(found), headers={"etag": f'"{found.version}"'})


@router.get("/{move}/certificate", responses=answers(CertificateDocument), openapi_extra=VIEWER)
async def get_certificate(
    topology: TheTopology,
    move: MoveInPath,
    format: Annotated[Literal["json", "markdown"], Query(description="as what")] = "json",  # noqa: A002 - the parameter's name
) -> Response:
    """Return the certificate of a move: its timeline, what is known of it, and what is not."""
    document = certificate(await run_in_threadpool(topology.tenant_moves.get, move))
    if format == "markdown":
        return Response(as_markdown(document), media_type="text/markdown; charset=utf-8")
    return rendered(document)


@router.post("/{move}/verified", responses=answers(MoveWritten), openapi_extra=OPERATOR)
async def verify_move(
    topology: TheTopology, move: MoveInPath, body: VerifiedBody, write: WriteOptions
) -> JSONResponse:
    """Record that a mover says that the data is at the target, or that it can come back.

    The switch wants both, made after the freeze came into force, and not too old.
    """
    written = await run_in_threadpool(
        topology.tenant_moves.verified,
        move,
        back=body.back,
        forth=body.forth,
        detail=body.detail,
        actor=write.actor,
        dry_run=write.dry_run,
    )
    return await _answer(write, written)


@router.post("/{move}/reports", responses=answers(MoveWritten), openapi_extra=OPERATOR)
async def report_on_move(
    topology: TheTopology, move: MoveInPath, body: MoveReportBody, write: WriteOptions
) -> JSONResponse:
    """Record what a cell or an edge has seen of the tenant's requests, for the certificate."""
    told = body.model_dump()
    report = partial(topology.tenant_moves.report, move, told, actor=write.actor)
    return await _answer(write, await run_in_threadpool(report, dry_run=write.dry_run))


@router.post("/{move}/{step}", responses=answers(MoveWritten), openapi_extra=OPERATOR)
async def step_of_move(
    state: TheState, move: MoveInPath, step: StepInPath, body: StepBody, write: WriteOptions
) -> JSONResponse:
    """Take a step of a move. A step that was done already changes nothing.

    With ``?wait=fleet``, a freeze is in force and a switch is settled once all Envoys run it; if
    the answer is 504, send the same again. 409: the step does not lead on from the move's state, or
    a gate refuses it.
    """
    written = await run_in_threadpool(
        state.topology.tenant_moves.step,
        move,
        step,
        actor=write.actor,
        why=body.reason,
        expected_version=write.match(),
        dry_run=write.dry_run,
    )
    if not write.wait or write.dry_run:
        return await _answer(write, written)
    revision = _revision_of(written.value, written.revision)
    standing = await write.fleet_runs(revision)
    seen = {**standing.as_dict(), "nodes": _nodes(state.fleet)}
    told = await run_in_threadpool(
        state.topology.tenant_moves.acknowledged, move, revision, seen, actor=write.actor
    )
    answered = Written(told.value, revision, written.changes)
    return await _answer(replace(write, wait=False), answered, fleet=standing.as_dict())


def _revision_of(move: Move, revision: int) -> int:
    """Return the revision that all Envoys must run, for the state that the move is in."""
    if move.state.holds:
        return int(move.facts["held_revision"])
    if move.state.switched:
        return int(move.facts["switch_revision"])
    return revision


def _nodes(fleet: Fleet) -> list[dict[str, Any]]:
    """Return what is known of this server's Envoys."""
    shown = [node for node in fleet.nodes() if node.connected][:MAX_NODES]
    return [
        {
            "id": node.id,
            "acked_revision": node.acked_revision,
            "last_message_at": node.last_message_at.isoformat(),
        }
        for node in shown
    ]


async def _answer(write: RequestedWrite, written: Written[Move], **members: Any) -> JSONResponse:
    move = written.value
    return await write.answer(written, {"move": _document(move), **members}, etag=move.version)
