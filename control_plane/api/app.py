"""Puts the REST API together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Depends, FastAPI

from control_plane.api import problem
from control_plane.api.auth import check_scope
from control_plane.api.background import Operations
from control_plane.api.middleware.guard import Guard
from control_plane.api.middleware.strict_query import strict_query
from control_plane.api.routes import (
    audit,
    bulk,
    cells,
    changes,
    claims,
    classify,
    explain,
    fleet,
    leases,
    operations,
    rulesets,
    sequences,
    tokens,
)
from control_plane.api.routes import topology as whole
from control_plane.api.schemas import responses
from control_plane.edge_health.book import Book
from control_plane.grpc_api.services.gateway import Gateway
from control_plane.topology import Topology
from control_plane.xds.fleet.fleet import Fleet

# Before claims: its {bucket}/{value} takes all that is left.
_ROOMS = (
    cells, bulk, claims, leases, sequences, rulesets, whole, explain, changes, audit, operations,
    tokens, fleet,
)  # fmt: skip


def create_app(
    topology: Topology,
    nodes: Fleet,
    *,
    metrics: Callable[[], Awaitable[bytes]],
    alarm: Callable[[], str | None],
    token: str | None = None,
    gateway: Gateway | None = None,
    edges: Book | None = None,
) -> FastAPI:
    """The API over a topology and a fleet; with ``token``, every call but the probes needs
    it, or a token of the topology's whose scope suffices.

    With ``gateway``, ``POST /v1/classify`` is served too. Await ``app.state.operations.close()``
    before the topology is closed.
    """
    app = FastAPI(
        title="cellway",
        version="1",
        openapi_url="/openapi.json",
        docs_url="/docs",
        responses=responses.PROBLEMS,
        dependencies=[Depends(check_scope), Depends(strict_query)],
    )
    app.state.topology = topology
    app.state.fleet = nodes
    app.state.edges = edges or Book()
    app.state.metrics = metrics
    app.state.alarm = alarm
    app.state.operations = Operations(topology)
    for module in _ROOMS:
        app.include_router(module.router)
    if gateway is not None:
        app.state.gateway = gateway
        app.include_router(classify.router)
    problem.install(app)
    app.add_middleware(Guard, topology=topology, token=token)
    return app
