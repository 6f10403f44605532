"""``/v1/fleet`` and the probes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from control_plane.api.auth import PROBE, VIEWER
from control_plane.api.long_work import TheWork
from control_plane.api.rendering import rendered
from control_plane.api.schemas.answers import answers
from control_plane.api.schemas.fleet import Alive, FleetDocument, Ready
from control_plane.api.state import TheState
from control_plane.edge_health.book import Book, Count
from control_plane.names import CELL_CLUSTERS, CLASSIFIER_CLUSTER

router = APIRouter(tags=["fleet"])
MAX_NODES_DOWN = 20
"""Envoys without a classifier that are named."""


@router.get(
    "/v1/fleet", response_model=None, responses=answers(FleetDocument), openapi_extra=VIEWER
)
async def get_fleet(state: TheState, work: TheWork) -> Response:
    """List the Envoys, and what they report of the cells' health.

    Of each Envoy it shows what it runs, and which resources it has refused and why. ``cells``
    counts the endpoints that are healthy at those Envoys that report them, and ``classifier`` the
    Envoys that can reach a classifier. ``edge_map`` is what an Envoy says of its table of owners,
    and ``other_edge_maps`` has those of nodes that are not in the list.
    """
    # What belongs to the event loop is read on it; to write it as JSON takes longer.
    reporting, nodes, maps = state.edges.nodes, state.fleet.nodes(), dict(state.edge_maps())
    told = {
        "alarm": state.alarm(),
        "cells": _cells_at_edges(state.edges),
        "classifier": _classifier_at_edges(state.edges),
        "addresses": asdict(state.addresses),
    }

    def render() -> Response:
        items = [
            node.as_dict()
            | {"reports_health": node.id in reporting, "edge_map": maps.pop(node.id, None)}
            for node in nodes
        ]
        others = [{"node": node} | dict(one) for node, one in sorted(maps.items())]
        answer = {"revision": state.topology.revision(), "items": items, "other_edge_maps": others}
        return rendered(answer | told)

    return await work(render)


def _cells_at_edges(edges: Book) -> list[dict[str, Any]]:
    counts = sorted(edges.counts_under(CELL_CLUSTERS).items())
    return [{"cell": name} | _document(count) for name, count in counts]


def _classifier_at_edges(edges: Book) -> dict[str, Any]:
    count = edges.counts.get(CLASSIFIER_CLUSTER, Count())
    nodes = edges.nodes_without(CLASSIFIER_CLUSTER) if count.down else []
    return _document(count) | {"nodes_down": nodes[:MAX_NODES_DOWN]}


def _document(count: Count) -> dict[str, Any]:
    return {
        "edges_up": count.up,
        "edges_down": count.down,
        "healthy": count.healthy,
        "total": count.total,
    }


@router.get("/healthz", response_model=None, responses=answers(Alive), openapi_extra=PROBE)
async def healthz() -> dict[str, str]:
    """Tell that the process is alive. It needs no token."""
    return {"status": "ok"}


@router.get("/readyz", responses=answers(Ready, 200, 503), openapi_extra=PROBE)
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
