"""``/v1/explain``: the routing decision for a request, with its trace."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from control_plane.api.auth import VIEWER
from control_plane.api.long_work import TheWork
from control_plane.api.problem import ProblemError
from control_plane.api.rendering import rendered
from control_plane.api.schemas.answers import answers
from control_plane.api.schemas.explain import ExplainBody, Explained
from control_plane.api.state import TheTopology
from control_plane.routing import explain as explanation
from control_plane.routing.evaluate import Owners
from control_plane.routing.model import Cells
from control_plane.routing.rules.document import text_of
from control_plane.routing.rules.parse import parse
from control_plane.topology import Topology
from control_plane.topology.claims.history import PastTopology
from control_plane.topology.values.change import TopologySnapshot

router = APIRouter(prefix="/v1", tags=["explain"])


@router.post("/explain", response_model=None, responses=answers(Explained), openapi_extra=VIEWER)
async def explain(topology: TheTopology, body: ExplainBody, work: TheWork) -> Response:
    """Return which cell a request would reach, by which rule, and why. Nothing is sent.

    With ``at``, it says what was decided then: by the cells, the ruleset and the owners of that
    revision, which is the answer's ``revision``. 409: no ruleset is active, and the body holds
    none. 410: what was then is no longer known; ``oldest`` is the oldest revision that is.
    """
    return await work(lambda: rendered(_explain(topology, body)))


def _explain(topology: Topology, body: ExplainBody) -> dict[str, Any]:
    if body.at is not None:
        with topology.history.at(_moment(body.at)) as past:
            return _explained(body, past, past.owners_of)
    return _explained(body, topology.snapshot(), topology.claims.owners_of)


def _moment(at: int | str) -> int | datetime:
    """Return the revision or the time that is meant; raise `ProblemError` (422) if it is none."""
    if isinstance(at, int):
        return at
    try:
        moment = datetime.fromisoformat(at)
    except ValueError as error:
        detail = f"at: {at!r} is neither a revision nor a time; write 2026-11-30T03:12Z"
        raise ProblemError(422, detail, code="invalid") from error
    if moment.tzinfo is None:
        detail = f"at: {at!r} has no time zone; write {at}Z for UTC"
        raise ProblemError(422, detail, code="invalid")
    return moment


def _explained(
    body: ExplainBody, state: TopologySnapshot | PastTopology, owners: Owners
) -> dict[str, Any]:
    """Explain the request by one state of the topology."""
    if body.ruleset is not None:
        ruleset = parse(text_of(body.ruleset))
    elif state.ruleset is not None:
        ruleset = parse(state.ruleset.document)
    elif body.at is not None:
        detail = f"no ruleset was active at revision {state.revision}"
        raise ProblemError(409, detail, code="no-ruleset")
    else:
        raise ProblemError(409, "no ruleset is active; apply one", code="no-ruleset")
    try:
        document = explanation.explain(
            ruleset,
            Cells(state.cells),
            owners,
            url=body.url,
            method=body.method,
            headers=[(name, value) for name, value in body.headers],
        )
    except explanation.InvalidURL as error:
        raise ProblemError(422, str(error), code="invalid") from error
    return {**document, "revision": state.revision}
