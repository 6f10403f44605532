"""``/v1/edge-secret``: the secret by which edges show the classifier that they are edges."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from control_plane.api.auth import ADMIN, VIEWER
from control_plane.api.schemas.answers import answers
from control_plane.api.schemas.edge_secret import EdgeSecretRead, EdgeSecretWritten
from control_plane.api.state import TheState, TheTopology
from control_plane.api.write import WriteOptions
from control_plane.topology.values import Refused

router = APIRouter(prefix="/v1/edge-secret", tags=["fleet"])


@router.get("", response_model=None, responses=answers(EdgeSecretRead), openapi_extra=VIEWER)
async def get_edge_secret(topology: TheTopology) -> dict[str, Any]:
    """Tell which generation of the secret edges are sent. No answer holds the secret itself."""
    read = await run_in_threadpool(topology.edge_secrets.read)
    return {"edge_secret": read.as_dict()}


@router.post("/rotate", responses=answers(EdgeSecretWritten), openapi_extra=ADMIN)
async def rotate_edge_secret(
    state: TheState, topology: TheTopology, write: WriteOptions
) -> JSONResponse:
    """Send edges the secret of the next generation.

    Classifiers go on accepting the one before, for edges that have not heard of it. Two rotations
    make a secret useless that has leaked. It is refused while an Envoy that is connected here lags
    behind, or shortly after a rotation, unless it is forced.
    """
    revision = await run_in_threadpool(topology.revision)
    lagging = () if write.force else await state.fleet.wait(revision, write.timeout_s)
    if lagging:
        why = f"{lagging[0]} and {len(lagging) - 1} others" if lagging[1:] else lagging[0]
        raise Refused(
            "to rotate the edges' secret", f"{why} may not have the present one; or force it"
        )
    written = await run_in_threadpool(
        topology.edge_secrets.rotate,
        actor=write.actor,
        force=write.force,
        dry_run=write.dry_run,
    )
    return await write.answer(written, {"edge_secret": written.value.as_dict()}, etag=None)
