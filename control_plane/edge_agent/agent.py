"""Puts an agent together and runs it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from prometheus_client import start_http_server

from control_plane.edge_agent.admin import Admin
from control_plane.edge_agent.admission import STREAMS_ON_PORT, STREAMS_ON_SOCKET, Admission
from control_plane.edge_agent.channels import ClientTls
from control_plane.edge_agent.map_service import MAX_READERS, MapService
from control_plane.edge_agent.map_store import MapStore
from control_plane.edge_agent.map_upstream import MapFollower
from control_plane.edge_agent.metrics import AgentMetrics, MapMetrics, ReporterMetrics
from control_plane.edge_agent.port import bind_port, bind_socket, socket_path
from control_plane.edge_agent.relay import Relay
from control_plane.edge_agent.reporter import Reporter
from control_plane.edge_agent.saved_variants import SavedVariants
from control_plane.edge_agent.saver import Saver
from control_plane.edge_agent.store import SnapshotStore
from control_plane.edge_agent.upstream import ControlPlane
from control_plane.process.admin_address import AdminAddress
from control_plane.process.background import BackgroundTasks, background_tasks
from control_plane.process.event_loop import until_signal
from control_plane.process.listening import check_free, host_port
from control_plane.xds.server.transport import MAX_SENT_BYTES, ping_options

log = logging.getLogger(__name__)
MAX_STREAMS = 16 + MAX_READERS
"""Streams of the one Envoy at once: those that have not ended yet, and the new one; and those that
read the table of owners."""
BAD_SHOWN_S = 3600.0
"""How long snapshots that could not be used at the start are shown after they were removed."""
GRACE_S = 1.0
"""How long open streams may go on when the agent stops."""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Where the control plane is, where Envoy finds the agent, and where snapshots are kept."""

    xds: str
    """``host:port`` of the control plane."""
    directory: Path
    node_id: str | None = None
    """The Envoy that is served; None: see `Admission`."""
    listen: str | tuple[str, int] | None = None
    """The path of a Unix socket, or host and port (0: any free one) on loopback, because the
    connection is not encrypted. None: a Unix socket in ``directory``."""
    metrics_port: int | None = None
    """On the host of ``listen``, or 127.0.0.1; None: metrics are not served."""
    tls: ClientTls | None = None
    envoy_admin: AdminAddress | None = None
    """The admin interface of the Envoy whose view of its endpoints is reported; None: nothing is
    reported."""
    variants: SavedVariants = field(default_factory=SavedVariants)
    """How a restarted Envoy is served a snapshot from disk that another one can't run."""


@dataclass(frozen=True, slots=True)
class RunningAgent:
    """An agent that serves."""

    address: str
    """Where its Envoy finds it: ``unix:PATH`` or ``host:port``."""
    store: SnapshotStore
    metrics: AgentMetrics
    owners: MapStore


@contextlib.asynccontextmanager
async def running(settings: AgentSettings) -> AsyncIterator[RunningAgent]:
    """Run an agent until the block is left.

    Raises:
        DirectoryTaken: Another agent uses the directory.
        OSError: The directory can't be used, a port is taken, or a TLS file can't be read.
    """
    async with contextlib.AsyncExitStack() as stack:
        store = SnapshotStore(settings.directory)
        stack.callback(store.close)
        metrics = AgentMetrics()
        _load(store, metrics)
        plane = ControlPlane(settings.xds, settings.tls, metrics.tls_failures.inc)
        stack.push_async_callback(plane.close)
        metrics.tls_unusable.set_function(lambda: float(not plane.tls_usable()))
        saver = Saver(store, metrics)
        stack.push_async_callback(saver.finish)
        if settings.metrics_port is not None:
            _serve_metrics(settings, settings.metrics_port, metrics, stack)
        server = _grpc_server()
        address, most_streams = _bind(server, settings)
        admission = Admission(settings.directory, settings.node_id, most_streams, metrics)
        relay = Relay(plane, store, saver, metrics, admission, settings.variants)
        relay.register(server)
        tasks = await _start_tasks(settings, saver, plane, metrics, stack)
        owners = _serve_owners(settings, plane, admission, metrics, server, tasks)
        stack.push_async_callback(owners.finish)
        stack.push_async_callback(server.stop, GRACE_S)
        await server.start()
        yield RunningAgent(address, store, metrics, owners)


def _serve_owners(
    settings: AgentSettings,
    plane: ControlPlane,
    admission: Admission,
    metrics: AgentMetrics,
    server: grpc.aio.Server,
    tasks: BackgroundTasks,
) -> MapStore:
    """Keep the table of owners, and serve it."""
    counts = MapMetrics(metrics.registry)
    store = MapStore(settings.directory, counts)
    follower = MapFollower(plane, store, counts, lambda: admission.node_id)
    service = MapService(store, follower, admission, counts)
    service.register(server)
    tasks.start("owners", follower.run)
    tasks.start("owners_saver", store.run)
    tasks.start("owners_beats", service.run)
    return store


async def _start_tasks(
    settings: AgentSettings,
    saver: Saver,
    plane: ControlPlane,
    metrics: AgentMetrics,
    stack: contextlib.AsyncExitStack,
) -> BackgroundTasks:
    """Start what works in the background; nothing that it meets ends the agent."""
    address = settings.envoy_admin
    envoy = None if address is None else Admin(address)
    if envoy is not None:
        stack.push_async_callback(envoy.close)
    tasks = await stack.enter_async_context(background_tasks(metrics))
    tasks.start("saver", saver.run)
    if envoy is not None:
        counts = ReporterMetrics(metrics.registry)
        tasks.start("reporter", lambda: Reporter(envoy, plane, counts).run())
    return tasks


def _serve_metrics(
    settings: AgentSettings, port: int, metrics: AgentMetrics, stack: contextlib.AsyncExitStack
) -> None:
    host = settings.listen[0] if isinstance(settings.listen, tuple) else "127.0.0.1"
    check_free(host, port, "--metrics-port")
    web, thread = start_http_server(port, host, metrics.registry)
    stack.callback(thread.join)
    stack.callback(web.server_close)
    stack.callback(web.shutdown)


def _grpc_server() -> grpc.aio.Server:
    return grpc.aio.server(
        options=(
            ("grpc.max_send_message_length", MAX_SENT_BYTES),
            ("grpc.max_receive_message_length", MAX_SENT_BYTES),
            ("grpc.so_reuseport", 0),
            *ping_options(),
        ),
        maximum_concurrent_rpcs=MAX_STREAMS,
    )


@contextlib.asynccontextmanager
async def reporting_to(xds: str, admin: AdminAddress) -> AsyncIterator[None]:
    """Report what the Envoy with this admin interface holds healthy, until the block is left.

    The connection to the control plane is in plain text: it is on this machine.
    """
    async with contextlib.AsyncExitStack() as stack:
        plane, envoy = ControlPlane(xds), Admin(admin)
        stack.push_async_callback(plane.close)
        stack.push_async_callback(envoy.close)
        tasks = await stack.enter_async_context(background_tasks(AgentMetrics()))
        tasks.start("reporter", lambda: Reporter(envoy, plane).run())
        yield


def _load(store: SnapshotStore, metrics: AgentMetrics) -> None:
    saved = store.load()
    found, until = len(store.bad), time.monotonic() + BAD_SHOWN_S
    # The next good snapshot removes them, often within a second: no scrape would show them.
    metrics.bad.set_function(lambda: found if store.bad or time.monotonic() < until else 0)
    metrics.revision.set(saved.revision if saved is not None else 0)
    if saved is not None:
        log.info("the snapshot on disk is of revision %d", saved.revision)
    else:
        log.warning("there is no snapshot on disk: an Envoy that starts now needs a control plane")


def _bind(server: grpc.aio.Server, settings: AgentSettings) -> tuple[str, int]:
    """Listen; return the address, and how many streams may be open there at once."""
    listen = settings.listen
    if listen is None or isinstance(listen, str):
        path = socket_path(settings.directory, listen)
        return bind_socket(server, path), STREAMS_ON_SOCKET
    if settings.node_id is None:
        text = "everybody on this machine reaches %s: give --node-id, or listen on a Unix socket"
        log.warning(text, host_port(*listen))
    return bind_port(server, *listen), STREAMS_ON_PORT


async def serve(settings: AgentSettings, announce: Callable[[str], None]) -> None:
    """Run an agent until a signal comes.

    Args:
        settings: How to run it.
        announce: Called with a line to print once it is up.
    """
    signalled = asyncio.create_task(until_signal())
    async with running(settings) as agent:
        announce(f"the agent is up; Envoy's control plane is {agent.address}")
        await signalled
