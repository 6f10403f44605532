"""Puts the REST API together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from fastapi import Depends, FastAPI, Request
from starlette.responses import Response
from starlette.routing import Route

from control_plane.api import problem, security_scheme, state
from control_plane.api.auth import check_scope
from control_plane.api.background import OperationRunner
from control_plane.api.callers import Callers
from control_plane.api.long_work import LongWork
from control_plane.api.middleware.authentication import Authentication
from control_plane.api.middleware.body_limit import BodyLimit
from control_plane.api.middleware.idempotency import Idempotency
from control_plane.api.middleware.media_type import media_type_check
from control_plane.api.middleware.own_origin import OwnOrigin
from control_plane.api.middleware.strict_query import strict_query
from control_plane.api.oidc.verifier import OidcVerifier
from control_plane.api.rendering import rendered
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
from control_plane.api.slots import Slots
from control_plane.api.state import ApiState, EnvoyAddresses
from control_plane.edge_health.book import Book
from control_plane.grpc_api.services.gateway import Gateway
from control_plane.topology import Topology
from control_plane.xds.fleet.fleet import Fleet

MAX_STREAMS = 100
MAX_STREAMS_PER_CALLER = 25
MAX_WAITS = 200
MAX_WAITS_PER_CALLER = 50
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
    hosts: Collection[str] | None = None,
    oidc: OidcVerifier | None = None,
    refused: Callable[[str], None] = lambda _: None,
    gateway: Gateway | None = None,
    edges: Book | None = None,
    addresses: EnvoyAddresses | None = None,
) -> FastAPI:
    """Return the API over a topology and a fleet.

    Await ``app.state.operations.close()`` before the topology is closed.

    Args:
        topology: The topology to read and write.
        nodes: The fleet to show, and to wait for with ``?wait=fleet``.
        metrics: Returns the metrics in Prometheus' text format.
        alarm: Returns why the newest revision is not published; None if it is.
        token: The token of an admin. With it, every call but the probes needs a token: this one or
            one of the topology's. Without it and without ``oidc``, callers without a token are
            admins.
        hosts: The names by which clients reach the API, beside those of loopback (`own_origin`).
            None, for an app that no browser can reach: the header Host is not checked.
        oidc: Verifies the JWTs of an issuer, which callers may send as tokens.
        refused: Is told the code of each request that is refused at the door.
        gateway: Answers ``POST /v1/classify``, which is not served without it.
        edges: What Envoys report of the cells' health.
        addresses: The addresses that Envoys are told; None without the role ``xds``.
    """
    callers = Callers(topology, token, oidc)
    app = _described(refused)
    runner = OperationRunner(topology)
    parts = ApiState(
        topology, nodes, edges or Book(), metrics, alarm, runner, gateway, callers,
        Slots("streams", total=MAX_STREAMS, per_caller=MAX_STREAMS_PER_CALLER, refused=refused),
        Slots("waits", total=MAX_WAITS, per_caller=MAX_WAITS_PER_CALLER, refused=refused),
        addresses or EnvoyAddresses(),
    )  # fmt: skip
    state.install(app, parts)
    app.state.long_work = LongWork(refused)
    # Before FastAPI's own route, which would work the description out on the event loop.
    app.router.routes.insert(0, Route("/openapi.json", _description, include_in_schema=False))
    for module in _ROUTES:
        app.include_router(module.router)
    if gateway is not None:
        app.include_router(classify.router)
    problem.install(app)
    security_scheme.install(app)
    # The middleware that is added last is the outermost.
    app.add_middleware(Idempotency, topology=topology)
    app.add_middleware(BodyLimit, refused=refused)
    app.add_middleware(Authentication, callers=callers, refused=refused)
    strangers = callers.admits_strangers
    app.add_middleware(OwnOrigin, hosts=hosts, admits_strangers=strangers, refused=refused)
    return app


def _described(refused: Callable[[str], None]) -> FastAPI:
    """Return an app without operations, whose description and checks all operations share."""
    checks = (check_scope, strict_query, media_type_check(refused))
    return FastAPI(
        title="cellway",
        version="1",
        openapi_url="/openapi.json",
        docs_url="/docs",
        responses=answers.PROBLEMS,
        dependencies=[Depends(check) for check in checks],
    )


async def _description(request: Request) -> Response:
    """Return the description of the API, which takes a second to work out the first time."""
    app: FastAPI = request.app
    work: LongWork = app.state.long_work
    return await work.run("", lambda: rendered(app.openapi()))
