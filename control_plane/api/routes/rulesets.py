"""``/v1/rulesets``: versions of routing rules, of which one is active."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from fastapi.responses import JSONResponse
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from control_plane.api.auth import OPERATOR, VIEWER
from control_plane.api.long_work import TheWork
from control_plane.api.parameters import CONDITIONAL, RulesetInPath
from control_plane.api.problem import ProblemError, findings_problem
from control_plane.api.rendering import rendered
from control_plane.api.schemas.answers import NOT_MODIFIED, answers
from control_plane.api.schemas.rulesets import (
    ActivateBody,
    ActiveRuleset,
    Findings,
    RulesetDocument,
    RulesetList,
    RulesetWritten,
)
from control_plane.api.state import TheTopology
from control_plane.api.write import ACTIVE, WriteOptions
from control_plane.routing.rules.document import read_stored, text_of
from control_plane.routing.rules.lint import Finding, lint
from control_plane.topology import Topology
from control_plane.topology.values.change import Ruleset, Written

router = APIRouter(prefix="/v1/rulesets", tags=["rulesets"])
Document = Annotated[dict[str, Any], Body(description="a ruleset in GitLab's rule format")]

RESERVED = frozenset({"active", "lint"})


def _summary(ruleset: Ruleset) -> dict[str, Any]:
    return {
        "name": ruleset.name,
        "version": ruleset.version,
        "active": ruleset.active,
        "author": ruleset.author,
        "created_at": ruleset.created_at.isoformat(),
    }


def _document(ruleset: Ruleset) -> dict[str, Any]:
    return {**_summary(ruleset), "document": read_stored(ruleset.document)}


def _etag(ruleset: Ruleset) -> str:
    """Return the ETag of a version's document, which says whether the version is active."""
    return f'"{ruleset.version}{ACTIVE if ruleset.active else ""}"'


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "severity": finding.severity,
        "rule": finding.rule,
        "field": finding.field,
        "message": finding.message,
        "mend": finding.hint,
    }


def _check(topology: Topology, document: str) -> list[Finding]:
    """Return what lint finds, given the present cells; raise `ProblemError` (422) for an error."""
    findings = lint(document, topology.cells.all())
    if any(finding.severity == "error" for finding in findings):
        raise findings_problem(findings)
    return findings


@router.get("", response_model=None, responses=answers(RulesetList), openapi_extra=VIEWER)
async def list_rulesets(topology: TheTopology, work: TheWork) -> Response:
    """List every version of every ruleset."""

    def read() -> Response:
        items = [_summary(ruleset) for ruleset in topology.rulesets.versions()]
        return rendered({"items": items, "next": None})

    return await work(read)


@router.post("/lint", response_model=None, responses=answers(Findings), openapi_extra=VIEWER)
async def lint_ruleset(topology: TheTopology, document: Document, work: TheWork) -> Response:
    """Return what is wrong or doubtful about a ruleset, given the present cells.

    Nothing is stored.
    """

    def check() -> Response:
        findings = lint(text_of(document), topology.cells.all())
        return rendered({"findings": [_finding(finding) for finding in findings]})

    return await work(check)


@router.get("/active", responses=answers(ActiveRuleset), openapi_extra=VIEWER)
async def get_active(topology: TheTopology, work: TheWork) -> Response:
    """Return the version that routes; ``{"active": false}`` if there is none."""

    def read() -> Response:
        ruleset = topology.rulesets.active()
        return rendered({"active": False} if ruleset is None else _document(ruleset))

    return await work(read)


@router.get(
    "/{name}",
    responses=answers(RulesetDocument) | NOT_MODIFIED,
    dependencies=[CONDITIONAL],
    openapi_extra=VIEWER,
)
async def get_ruleset(
    topology: TheTopology,
    work: TheWork,
    name: RulesetInPath,
    version: Annotated[
        Annotated[int, Field(ge=1, lt=2**31)] | SkipJsonSchema[None],
        Query(description="the version; without it, the newest"),
    ] = None,
) -> Response:
    """Return a version of a ruleset with its document, by default the newest."""

    def read() -> Response:
        ruleset = topology.rulesets.get(name, version)
        return rendered(_document(ruleset), headers={"etag": _etag(ruleset)})

    return await work(read)


@router.put("/{name}", responses=answers(RulesetWritten), openapi_extra=OPERATOR)
async def put_ruleset(
    topology: TheTopology,
    name: RulesetInPath,
    document: Document,
    write: WriteOptions,
    work: TheWork,
) -> JSONResponse:
    """Store a new version of a ruleset. It routes only once it is activated.

    If-Match is optional: the newest version. 412: there is a newer one. 422: the ruleset can't work
    with the present cells.
    """
    if name in RESERVED:
        detail = f"a ruleset can't be called {name!r}: /v1/rulesets/{name} is something else"
        raise ProblemError(422, detail, code="invalid")

    def put() -> tuple[Written[Ruleset], dict[str, Any]]:
        text = text_of(document)
        findings = _check(topology, text)
        written = topology.rulesets.put(
            name,
            text,
            actor=write.actor,
            expected_version=write.match(),
            dry_run=write.dry_run,
        )
        shown = [_finding(finding) for finding in findings]
        return written, {"ruleset": _summary(written.value), "findings": shown}

    written, body = await work(put)
    return await write.answer(written, body, etag=written.value.version)


@router.post("/{name}/activate", responses=answers(RulesetWritten), openapi_extra=OPERATOR)
async def activate_ruleset(
    topology: TheTopology,
    name: RulesetInPath,
    body: ActivateBody,
    write: WriteOptions,
    work: TheWork,
) -> JSONResponse:
    """Make a version the one that routes. 422: it can't work with the present cells."""
    wanted = await run_in_threadpool(topology.rulesets.get, name, body.version)
    await work(lambda: _check(topology, wanted.document))
    written = await run_in_threadpool(
        topology.rulesets.activate, name, body.version, actor=write.actor, dry_run=write.dry_run
    )
    return await write.answer(written, {"ruleset": _summary(written.value)}, etag=None)
