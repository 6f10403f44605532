"""``/v1/fleet`` and the probes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from control_plane.api.auth import VIEWER
from control_plane.api.long_work import TheWork
from control_plane.api.rendering import rendered
from control_plane.api.schemas.answers import answers
from control_plane.api.schemas.fleet import FleetDocument, Ready
from control_plane.api.state import TheState
from control_plane.edge_health.book import Book
from control_plane.names import CELL_CLUSTERS

router = APIRouter(tags=["fleet"])


@router.get(
    "/v1/fleet", response_model=None, responses=answers(FleetDocument), openapi_extra=VIEWER
)
async def get_fleet(state: TheState, work: TheWork) -> Response:
    """List the Envoys, and what they report of the cells' health.

    Of each Envoy it shows what it runs, and which resources it has refused and why. ``cells``
    counts the endpoints that are healthy at those Envoys that report them.
    """
    # What belongs to the event loop is read on it; to write it as JSON takes longer.
    reporting, nodes = state.edges.nodes, state.fleet.nodes()
    alarm, cells = state.alarm(), _cells_at_edges(state.edges)

    def render() -> Response:
        items = [node.as_dict() | {"reports_health": node.id in reporting} for node in nodes]
        revision = state.topology.revision()
        return rendered({"revision": revision, "alarm": alarm, "items": items, "cells": cells})

    return await work(render)


def _cells_at_edges(edges: Book) -> list[dict[str, Any]]:
    return [
        {
            "cell": name,
            "edges_up": count.up,
            "edges_down": count.down,
            "healthy": count.healthy,
            "total": count.total,
        }
        for name, count in sorted(edges.counts_under(CELL_CLUSTERS).items())
    ]


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Tell that the process is alive. It needs no token."""
    return {"status": "ok"}


@router.get("/readyz", responses=answers(Ready, 200, 503))
async def readyz(state: TheState) -> JSONResponse:
    """Tell whether the database answers and takes writes, and the newest revision is published.

    It is 503 if not, and ``alarm`` says why. It needs no token.
    """
    revision = await run_in_threadpool(state.topology.revision)
    alarm = state.alarm()
    body = {"status": "alarm" if alarm else "ok", "revision": revision, "alarm": alarm}
    return JSONResponse(body, status_code=503 if alarm else 200)


@router.get("/metrics", include_in_schema=False, openapi_extra=VIEWER)
async def metrics(state: TheState) -> Response:
    """Return the metrics in Prometheus' text format."""
    text = await state.metrics()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
