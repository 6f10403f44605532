"""``/v1/explain``: the routing decision for a request, with its trace."""

from __future__ import annotations

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
from control_plane.routing.holds import by_owner
from control_plane.routing.model import Cells
from control_plane.routing.rules.document import text_of
from control_plane.routing.rules.parse import parse
from control_plane.topology import Topology

router = APIRouter(prefix="/v1", tags=["explain"])


@router.post("/explain", response_model=None, responses=answers(Explained), openapi_extra=VIEWER)
async def explain(topology: TheTopology, body: ExplainBody, work: TheWork) -> Response:
    """Return which cell a request would reach, by which rule, and why. Nothing is sent.

    409: no ruleset is active, and the body holds none.
    """
    return await work(lambda: rendered(_explain(topology, body)))


def _explain(topology: Topology, body: ExplainBody) -> dict[str, Any]:
    snapshot = topology.snapshot()
    if body.ruleset is not None:
        ruleset = parse(text_of(body.ruleset))
    elif snapshot.ruleset is not None:
        ruleset = parse(snapshot.ruleset.document)
    else:
        raise ProblemError(409, "no ruleset is active; apply one", code="no-ruleset")
    try:
        document = explanation.explain(
            ruleset,
            Cells(snapshot.cells, by_owner(snapshot.holds)),
            topology.claims.owners_of,
            url=body.url,
            method=body.method,
            headers=[(name, value) for name, value in body.headers],
        )
    except explanation.InvalidURL as error:
        raise ProblemError(422, str(error), code="invalid") from error
    return {**document, "revision": snapshot.revision}
