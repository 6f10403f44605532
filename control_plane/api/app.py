"""Puts the REST API together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Depends, FastAPI

from control_plane.api import problem, state
from control_plane.api.auth import check_scope
from control_plane.api.background import OperationRunner
from control_plane.api.middleware.authentication import Authentication
from control_plane.api.middleware.body_limit import BodyLimit
from control_plane.api.middleware.idempotency import Idempotency
from control_plane.api.middleware.strict_query import strict_query
from control_plane.api.routes import (
    audit,
    bulk,
    cells,
    changes,
    claims,
    classify,
    edge_secret,
    explain,
    fleet,
    leases,
    operations,
    rulesets,
    sequences,
    tokens,
)
from control_plane.api.routes import topology as topology_document
from control_plane.api.schemas import answers
from control_plane.api.state import ApiState
from control_plane.edge_health.book import Book
from control_plane.grpc_api.services.gateway import Gateway
from control_plane.topology import Topology
from control_plane.xds.fleet.fleet import Fleet

# The path {bucket}/{value} of claims matches those of bulk too, so bulk comes first.
_ROUTES = (
    cells, bulk, claims, leases, sequences, rulesets, topology_document, explain, changes, audit,
    operations, tokens, fleet, edge_secret,
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
    """Return the API over a topology and a fleet.

    Await ``app.state.operations.close()`` before the topology is closed.

    Args:
        topology: The topology to read and write.
        nodes: The fleet to show, and to wait for with ``?wait=fleet``.
        metrics: Returns the metrics in Prometheus' text format.
        alarm: Returns why the newest revision is not published; None if it is.
        token: The token of an admin. With it, every call but the probes needs a token: this one or
            one of the topology's. Without it, callers without a token are admins.
        gateway: Answers ``POST /v1/classify``, which is not served without it.
        edges: What Envoys report of the cells' health.
    """
    app = FastAPI(
        title="cellway",
        version="1",
        openapi_url="/openapi.json",
        docs_url="/docs",
        responses=answers.PROBLEMS,
        dependencies=[Depends(check_scope), Depends(strict_query)],
    )
    runner = OperationRunner(topology)
    state.install(app, ApiState(topology, nodes, edges or Book(), metrics, alarm, runner, gateway))
    for module in _ROUTES:
        app.include_router(module.router)
    if gateway is not None:
        app.include_router(classify.router)
    problem.install(app)
    # The middleware that is added last is the outermost.
    app.add_middleware(Idempotency, topology=topology)
    app.add_middleware(BodyLimit)
    app.add_middleware(Authentication, topology=topology, token=token)
    return app
