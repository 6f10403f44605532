"""``/v1/explain``: the routing decision for a request, with its trace."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from control_plane.api.auth import VIEWER
from control_plane.api.problem import ProblemError
from control_plane.api.schemas.answers import answers
from control_plane.api.schemas.explain import ExplainBody, Explained
from control_plane.api.state import TheTopology
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
async def explain(topology: TheTopology, body: ExplainBody) -> dict[str, Any]:
    """Return which cell a request would reach, by which rule, and why. Nothing is sent.

    409: no ruleset is active, and the body holds none.
    """
    return await run_in_threadpool(_explain, topology, body)


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
    """Return what the edge and then the ruleset make of a request, as plain JSON.

    Args:
        ruleset: The rules.
        cells: All cells.
        owners: Looks up the owners of claims.
        url: An absolute URL, or a path.
        method: The HTTP method.
        headers: Name and value of each header, in order.

    Raises:
        ProblemError: (422) The URL is neither.
    """
    url_authority, target = split_url(url)
    fields = [(name, value.encode("utf-8", "replace")) for name, value in headers]
    # As in a client, Host headers replace the URL's authority, and all of them are sent.
    has_host = any(name.lower() == "host" for name, _ in fields)
    authority = None if has_host else url_authority.encode()
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
    serving = Cells(cell for cell in cells if cell.state is not CellState.RETIRED)
    return decision_document(decide(ruleset, admitted, serving, owners))


def split_url(url: str) -> tuple[str, str]:
    """Return the authority ("localhost" without one) and the target of an absolute URL or a path.

    Raises:
        ProblemError: (422) The text is neither.
    """
    match = _URL.fullmatch(url)
    if match is None:
        detail = f"{url[:200]!r} is no URL; write https://host/path or /path"
        raise ProblemError(422, detail, code="invalid")
    target = match["target"] or "/"
    return match["authority"] or "localhost", f"/{target}" if target[0] == "?" else target


def decision_document(decision: Decision) -> dict[str, Any]:
    """Return a decision as plain JSON."""
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
