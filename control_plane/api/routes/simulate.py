"""``/v1/simulate``: recorded traffic, decided by the active ruleset and by a proposed one."""

from __future__ import annotations

from io import BytesIO
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from starlette.responses import Response

from control_plane.api.auth import VIEWER
from control_plane.api.long_work import TheWork
from control_plane.api.problem import ProblemError
from control_plane.api.rendering import rendered
from control_plane.api.schemas.answers import answers
from control_plane.api.schemas.simulate import Simulated
from control_plane.api.state import TheTopology
from control_plane.routing.model import Cells
from control_plane.routing.rules.parse import parse
from control_plane.simulation.comparison import Comparison
from control_plane.simulation.logs.log_file import BadLog, Bounds, LogFile, LogFormat, TooLong
from control_plane.simulation.worlds import World
from control_plane.topology import Topology

router = APIRouter(prefix="/v1", tags=["explain"])
BOUNDS = Bounds(lines=20_000, size=32 << 20)
"""What one request may hold: half a second of a thread's time."""
_LOG: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "the log; it may be compressed with gzip",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(
    "/simulate", response_model=None, responses=answers(Simulated), openapi_extra=_LOG | VIEWER
)
async def simulate(
    request: Request,
    topology: TheTopology,
    work: TheWork,
    ruleset: Annotated[
        str | SkipJsonSchema[None],
        Query(max_length=64, description="the proposed ruleset, stored before; none: the active"),
    ] = None,
    version: Annotated[
        Annotated[int, Field(ge=1, lt=2**31)] | SkipJsonSchema[None],
        Query(description="its version; without it, the newest"),
    ] = None,
    log_format: Annotated[
        LogFormat | SkipJsonSchema[None],
        Query(alias="format", description="of the log; without it, told by the content"),
    ] = None,
    host: Annotated[
        str, Query(max_length=255, description="the host where the log tells none")
    ] = "localhost",
    examples: Annotated[
        int, Query(ge=0, le=100, description="requests that are shown of each group")
    ] = 3,
) -> Response:
    """Return which recorded requests would go elsewhere by a proposed ruleset. Nothing changes.

    The body is a log: Envoy's JSON access log, the combined log format, or HAR; at most 20,000
    lines and 2 MiB. 404: there is no such ruleset. 409: no ruleset is active. 422: the log is
    damaged, or its format can't be told.
    """
    sent = await request.body()

    def compare() -> Response:
        before, after, revision = _worlds(topology, ruleset, version)
        comparison = Comparison(before, after, lambda keys: _owners(topology, keys), examples)
        try:
            comparison.run(LogFile(BytesIO(sent), log_format, BOUNDS), host)
        except TooLong as error:
            detail = f"{error}: send less at a time, or use `cellway simulate`"
            raise ProblemError(422, detail, code="invalid") from error
        except BadLog as error:
            raise ProblemError(422, f"the log can't be read: {error}", code="invalid") from error
        return rendered({"revision": revision, **comparison.tally.as_dict()})

    return await work(compare)


def _owners(topology: Topology, keys: Any) -> list[int | None]:
    return topology.claims.owners_as_of(keys)[1]


def _worlds(topology: Topology, name: str | None, version: int | None) -> tuple[World, World, int]:
    """Return the active world, the proposed one, and the revision of both."""
    snapshot = topology.snapshot()
    if snapshot.ruleset is None:
        raise ProblemError(409, "no ruleset is active; apply one", code="no-ruleset")
    if version is not None and name is None:
        raise ProblemError(422, "version is of a ruleset: name that too", code="invalid")
    active = World(parse(snapshot.ruleset.document), Cells(snapshot.cells))
    if name is None:
        return active, active, snapshot.revision
    proposed = parse(topology.rulesets.get(name, version).document)
    return active, World(proposed, active.cells), snapshot.revision
