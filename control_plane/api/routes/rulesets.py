"""``/v1/rulesets``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import JSONResponse
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool

from control_plane.api.auth import OPERATOR, VIEWER
from control_plane.api.problem import ProblemError, findings_problem
from control_plane.api.schemas.requests import ActivateBody
from control_plane.api.schemas.responses import (
    ActiveRuleset,
    Findings,
    RulesetDocument,
    RulesetList,
    RulesetWritten,
    answers,
)
from control_plane.api.write import WriteOptions
from control_plane.routing.rules.document import read_stored, text_of
from control_plane.routing.rules.lint import Finding, lint
from control_plane.topology import Topology
from control_plane.topology.values.change import Ruleset

router = APIRouter(prefix="/v1/rulesets", tags=["rulesets"])
Document = Annotated[dict[str, Any], Body(description="a ruleset in GitLab's rule format")]

RESERVED = frozenset({"active", "lint"})


def _topology(request: Request) -> Topology:
    topology: Topology = request.app.state.topology
    return topology


def _summary(ruleset: Ruleset) -> dict[str, Any]:
    return {
        "name": ruleset.name,
        "version": ruleset.version,
        "active": ruleset.active,
        "author": ruleset.author,
        "created_at": ruleset.created_at.isoformat(),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "severity": finding.severity,
        "rule": finding.rule,
        "field": finding.field,
        "message": finding.message,
        "mend": finding.hint,
    }


def _check(topology: Topology, document: str) -> list[Finding]:
    """Findings against the cells that there are; raises if one is an error."""
    findings = lint(document, topology.cells.all())
    if any(finding.severity == "error" for finding in findings):
        raise findings_problem(findings)
    return findings


@router.get("", response_model=None, responses=answers(RulesetList), openapi_extra=VIEWER)
async def list_rulesets(request: Request) -> dict[str, Any]:
    """Every version of every ruleset."""
    found = await run_in_threadpool(_topology(request).rulesets.versions)
    return {"items": [_summary(ruleset) for ruleset in found], "next": None}


@router.post("/lint", response_model=None, responses=answers(Findings), openapi_extra=VIEWER)
async def lint_ruleset(request: Request, document: Document) -> dict[str, Any]:
    """What is wrong or doubtful about a ruleset, against the cells that there are."""
    cells = await run_in_threadpool(_topology(request).cells.all)
    findings = await run_in_threadpool(lambda: lint(text_of(document), cells))
    return {"findings": [_finding(finding) for finding in findings]}


@router.get("/active", responses=answers(ActiveRuleset), openapi_extra=VIEWER)
async def get_active(request: Request) -> JSONResponse:
    """The version that routes; ``{"active": false}`` where there is none."""
    ruleset = await run_in_threadpool(_topology(request).rulesets.active)
    if ruleset is None:
        return JSONResponse({"active": False})
    return JSONResponse({**_summary(ruleset), "document": read_stored(ruleset.document)})


@router.get("/{name}", responses=answers(RulesetDocument), openapi_extra=VIEWER)
async def get_ruleset(
    request: Request,
    name: str,
    version: Annotated[int, Query(ge=1, lt=2**31)] | SkipJsonSchema[None] = None,
) -> JSONResponse:
    """A version, by default the newest, with its document."""
    ruleset = await run_in_threadpool(_topology(request).rulesets.get, name, version)
    document = {**_summary(ruleset), "document": read_stored(ruleset.document)}
    return JSONResponse(document, headers={"etag": f'"{ruleset.version}"'})


@router.put("/{name}", responses=answers(RulesetWritten), openapi_extra=OPERATOR)
async def put_ruleset(
    request: Request, name: str, document: Document, write: WriteOptions
) -> JSONResponse:
    """Keep a new version; it routes only once it is activated. If-Match: the newest version."""
    if name in RESERVED:
        detail = f"a ruleset can't be called {name!r}: /v1/rulesets/{name} is something else"
        raise ProblemError(422, detail, code="invalid")
    topology = _topology(request)
    text = text_of(document)
    findings = await run_in_threadpool(_check, topology, text)
    expected = write.expected if write.expected is not None and write.expected >= 0 else None
    written = await run_in_threadpool(
        topology.rulesets.put,
        name,
        text,
        actor=write.actor,
        expected_version=expected,
        dry_run=write.dry_run,
    )
    body = {"ruleset": _summary(written.value), "findings": [_finding(f) for f in findings]}
    return await write.answer(written, body, etag=written.value.version)


@router.post("/{name}/activate", responses=answers(RulesetWritten), openapi_extra=OPERATOR)
async def activate_ruleset(
    request: Request, name: str, body: ActivateBody, write: WriteOptions
) -> JSONResponse:
    """Make a version the one that routes; refused if it can't work with the cells there are."""
    topology = _topology(request)
    wanted = await run_in_threadpool(topology.rulesets.get, name, body.version)
    await run_in_threadpool(_check, topology, wanted.document)
    written = await run_in_threadpool(
        topology.rulesets.activate, name, body.version, actor=write.actor, dry_run=write.dry_run
    )
    return await write.answer(written, {"ruleset": _summary(written.value)}, etag=None)
