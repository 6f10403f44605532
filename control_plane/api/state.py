"""What every operation of the API works with, as typed dependencies.

A handler that writes ``topology: TheTopology`` as a parameter gets the topology of the app.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request

from control_plane.api.auth import CALLER, Caller
from control_plane.api.background import OperationRunner
from control_plane.api.callers import Admission, Callers
from control_plane.api.fleet_wait import FleetWait
from control_plane.api.middleware.asgi import header
from control_plane.api.slots import Slots
from control_plane.edge_health.book import Book
from control_plane.grpc_api.services.gateway import Gateway
from control_plane.topology import Topology
from control_plane.xds.fleet.fleet import Fleet

type EdgeMaps = Mapping[str, Mapping[str, Any]]
"""By node id, what the node says of its table of owners, in plain JSON types."""


@dataclass(frozen=True, slots=True)
class EnvoyAddresses:
    """The addresses that this server tells Envoys, as ``host:port``."""

    xds: str | None = None
    """None without the role ``xds``."""
    classifiers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiState:
    """The parts of the control plane that the API serves."""

    topology: Topology
    fleet: Fleet
    fleet_wait: FleetWait
    edges: Book
    metrics: Callable[[], Awaitable[bytes]]
    """Returns the metrics in Prometheus' text format."""
    alarm: Callable[[], str | None]
    """Returns why the newest revision is not published; None if it is."""
    operations: OperationRunner
    gateway: Gateway | None
    callers: Callers
    streams: Slots
    """For event streams."""
    waits: Slots
    """For writes that wait for the fleet."""
    addresses: EnvoyAddresses
    edge_maps: Callable[[], EdgeMaps]
    """Returns what nodes say of their tables of owners."""


def install(app: FastAPI, state: ApiState) -> None:
    """Make the state that of an app."""
    app.state.api = state
    # Whoever stops the server closes them, before the topology.
    app.state.operations = state.operations


def state_of(request: Request) -> ApiState:
    """Return the state of the app that handles a request."""
    state: ApiState = request.app.state.api
    return state


def caller_of(request: Request) -> Caller:
    """Return who sends a request; a probe has no caller."""
    caller: Caller = request.scope[CALLER]
    return caller


def admission_of(request: Request) -> Admission:
    """Return the credentials of a request, to check them again."""
    return Admission(state_of(request).callers, header(request.scope, b"authorization"))


async def _state(request: Request) -> ApiState:
    return state_of(request)


async def _topology(request: Request) -> Topology:
    return state_of(request).topology


async def _operations(request: Request) -> OperationRunner:
    return state_of(request).operations


TheState = Annotated[ApiState, Depends(_state)]
TheTopology = Annotated[Topology, Depends(_topology)]
TheOperations = Annotated[OperationRunner, Depends(_operations)]
