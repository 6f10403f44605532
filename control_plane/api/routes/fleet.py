"""``/v1/fleet`` and the probes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from control_plane.api.auth import VIEWER
from control_plane.api.schemas.responses import FleetDocument, Ready, answers
from control_plane.edge_health.book import Book
from control_plane.names import CELL_CLUSTERS
from control_plane.xds.fleet.fleet import Fleet

router = APIRouter(tags=["fleet"])


@router.get(
    "/v1/fleet", response_model=None, responses=answers(FleetDocument), openapi_extra=VIEWER
)
async def get_fleet(request: Request) -> dict[str, Any]:
    """Each Envoy: what it runs, and what it refused and why; and what those hold of each cell that
    report which endpoints they hold healthy."""
    fleet: Fleet = request.app.state.fleet
    edges: Book = request.app.state.edges
    revision = await run_in_threadpool(request.app.state.topology.revision)
    reporting = edges.nodes
    return {
        "revision": revision,
        "alarm": request.app.state.alarm(),
        "items": [
            node.as_dict() | {"reports_health": node.id in reporting} for node in fleet.nodes()
        ],
        "cells": [
            {
                "cell": name,
                "edges_up": count.up,
                "edges_down": count.down,
                "healthy": count.healthy,
                "total": count.total,
            }
            for name, count in sorted(edges.counts_under(CELL_CLUSTERS).items())
        ],
    }


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


@router.get("/readyz", responses=answers(Ready, 200, 503))
async def readyz(request: Request) -> JSONResponse:
    """The database answers and the newest revision is published."""
    revision = await run_in_threadpool(request.app.state.topology.revision)
    alarm = request.app.state.alarm()
    body = {"status": "alarm" if alarm else "ok", "revision": revision, "alarm": alarm}
    return JSONResponse(body, status_code=503 if alarm else 200)


@router.get("/metrics", include_in_schema=False, openapi_extra=VIEWER)
async def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    text = await request.app.state.metrics()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
