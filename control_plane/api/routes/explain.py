"""``/v1/explain``: the evaluator's decision for a request, with its trace."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from control_plane.api.auth import VIEWER
from control_plane.api.problem import ProblemError
from control_plane.api.schemas.requests import ExplainBody
from control_plane.api.schemas.responses import Explained, answers
from control_plane.routing.admission.admit import Refused, admit
from control_plane.routing.evaluate import Owners, decide
from control_plane.routing.model import Cells, Decision, Status, ToCell
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.ruleset import Ruleset
from control_plane.topology import Topology
from control_plane.topology.values.cell import Cell, CellState

_URL = re.compile(
    r"(?:https?://(?P<authority>[^/?#]+))?(?P<target>[/?*].*)?", re.DOTALL | re.IGNORECASE
)
router = APIRouter(prefix="/v1", tags=["explain"])


@router.post("/explain", response_model=None, responses=answers(Explained), openapi_extra=VIEWER)
async def explain(request: Request, body: ExplainBody) -> dict[str, Any]:
    """Which cell a request would reach, by which rule, and why. Nothing is sent."""
    return await run_in_threadpool(_explain, request.app.state.topology, body)


def _explain(topology: Topology, body: ExplainBody) -> dict[str, Any]:
    snapshot = topology.snapshot()
    if body.ruleset is not None:
        ruleset = parse(json.dumps(body.ruleset))
    elif snapshot.ruleset is not None:
        ruleset = parse(snapshot.ruleset.document)
    else:
        raise ProblemError(409, "no ruleset is active; apply one", code="no-ruleset")
    document = explained(
        ruleset,
        snapshot.cells,
        topology.claims.owners_of,
        url=body.url,
        method=body.method,
        headers=body.headers,
    )
    return {**document, "revision": snapshot.revision}


def explained(
    ruleset: Ruleset,
    cells: Iterable[Cell],
    owners: Owners,
    *,
    url: str,
    method: str,
    headers: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    """What the edge and then the ruleset make of a request, as plain JSON.

    Raises:
        ProblemError: (422) the URL is none.
    """
    named, target = split_url(url)
    fields = [(name, value.encode("utf-8", "replace")) for name, value in headers]
    # As a client sends it: Host headers that are given replace the URL's, and all of them go out.
    given = any(name.lower() == "host" for name, _ in fields)
    authority = None if given else named.encode()
    admitted = admit(method.upper(), target.encode(), authority, fields)
    if isinstance(admitted, Refused):
        return {
            "cell": None,
            "outcome": {"status": admitted.status},
            "rule": None,
            "key": None,
            "matched_claim": None,
            "reason": f"the edge refuses it: {admitted.reason}",
            "trace": [],
        }
    known = Cells(cell for cell in cells if cell.state is not CellState.RETIRED)
    return decision_document(decide(ruleset, admitted, known, owners))


def split_url(url: str) -> tuple[str, str]:
    """Authority ("localhost" if there is none) and target of an absolute URL or a path.

    Raises:
        ProblemError: (422) neither http(s)://… nor a path.
    """
    found = _URL.fullmatch(url)
    if found is None:
        detail = f"{url[:200]!r} is no URL; write https://host/path or /path"
        raise ProblemError(422, detail, code="invalid")
    target = found["target"] or "/"
    return found["authority"] or "localhost", f"/{target}" if target[0] == "?" else target


def decision_document(decision: Decision) -> dict[str, Any]:
    """A decision as plain JSON."""
    outcome = decision.outcome
    shown: dict[str, Any]
    if isinstance(outcome, ToCell):
        shown = {"cell": outcome.cell}
    elif isinstance(outcome, Status):
        shown = {"status": outcome.code}
    else:
        shown = {"weighted": dict(outcome.choices)}
    return {
        "cell": decision.cell,
        "outcome": shown,
        "rule": decision.rule,
        "key": decision.key,
        "matched_claim": list(decision.matched_claim) if decision.matched_claim else None,
        "reason": decision.reason,
        "trace": [
            {"rule": step.rule, "result": step.result, "why": step.why} for step in decision.trace
        ],
    }
