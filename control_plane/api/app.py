"""Puts the REST API together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from fastapi import Depends, FastAPI

from control_plane.api import description, documentation, problem, state
from control_plane.api.auth import check_scope
from control_plane.api.background import OperationRunner
from control_plane.api.callers import Callers
from control_plane.api.fleet_wait import FleetWait
from control_plane.api.long_work import LongWork
from control_plane.api.middleware.authentication import Authentication
from control_plane.api.middleware.body_limit import BodyLimit
from control_plane.api.middleware.idempotency import Idempotency
from control_plane.api.middleware.media_type import media_type_check
from control_plane.api.middleware.methods import Methods
from control_plane.api.middleware.not_modified import NotModified
from control_plane.api.middleware.own_origin import OwnOrigin
from control_plane.api.middleware.strict_query import strict_query
from control_plane.api.oidc.verifier import OidcVerifier
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
    simulate,
    tokens,
)
from control_plane.api.routes import topology as topology_document
from control_plane.api.schemas import answers
from control_plane.api.slots import Slots
from control_plane.api.state import ApiState, EdgeMaps, EnvoyAddresses
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
    cells, bulk, claims, leases, sequences, rulesets, topology_document, explain, simulate, changes,
    audit, operations, tokens, fleet, edge_secret,
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
    server: str | None = None,
    addresses: EnvoyAddresses | None = None,
    edge_maps: Callable[[], EdgeMaps] = dict,
) -> FastAPI:
    """Return the API; await ``app.state.operations.close()`` before the topology is closed.

    Args:
        topology: The topology to read and write.
        nodes: The fleet to show, and to wait for with ``?wait=fleet``.
        metrics: Returns the metrics in Prometheus' text format.
        alarm: Returns why the newest revision is not published; None if it is.
        token: The token of an admin. With it, all but the probes need this token or one of the
            topology's. Without it and ``oidc``, callers without a token are admins.
        hosts: The API's names beside loopback's (`own_origin`); None: Host is not checked.
        oidc: Verifies the JWTs of an issuer, which callers may send as tokens.
        refused: Is told the code of each request that is refused at the door.
        gateway: Answers ``POST /v1/classify``, which is not served without it.
        edges: What Envoys report of the cells' health.
        server: The id under which this process reports its Envoys; None without the role ``xds``.
        addresses: The addresses that Envoys are told; None without that role.
        edge_maps: Returns what nodes say of their tables of owners.
    """
    callers = Callers(topology, token, oidc)
    app = _described(refused)
    runner = OperationRunner(topology)
    parts = ApiState(
        topology, nodes, FleetWait(topology, nodes, alarm, server), edges or Book(), metrics, alarm,
        runner, gateway, callers, *_slots(refused), addresses or EnvoyAddresses(), edge_maps,
    )  # fmt: skip
    state.install(app, parts)
    app.state.long_work = LongWork(refused)
    documentation.install(app, app.state.long_work)
    for module in _ROUTES:
        app.include_router(module.router)
    if gateway is not None:
        app.include_router(classify.router)
    problem.install(app)
    description.install(app)
    # The middleware that is added last is the outermost.
    app.add_middleware(Methods, routes=app.router.routes)
    app.add_middleware(NotModified)
    app.add_middleware(Idempotency, topology=topology)
    app.add_middleware(BodyLimit, refused=refused)
    app.add_middleware(Authentication, callers=callers, refused=refused)
    strangers = callers.admits_strangers
    app.add_middleware(OwnOrigin, hosts=hosts, admits_strangers=strangers, refused=refused)
    return app


def _slots(refused: Callable[[str], None]) -> tuple[Slots, Slots]:
    """Return the slots of event streams, and those of writes that wait for the fleet."""
    return (
        Slots("streams", total=MAX_STREAMS, per_caller=MAX_STREAMS_PER_CALLER, refused=refused),
        Slots("waits", total=MAX_WAITS, per_caller=MAX_WAITS_PER_CALLER, refused=refused),
    )


def _described(refused: Callable[[str], None]) -> FastAPI:
    """Return an app without operations, whose description and checks all operations share."""
    checks = (check_scope, strict_query, media_type_check(refused))
    return FastAPI(
        **description.ABOUT,
        # `documentation` serves these.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=description.operation_id,
        responses=answers.PROBLEMS,
        dependencies=[Depends(check) for check in checks],
    )
