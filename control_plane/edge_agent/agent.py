"""Puts an agent together and runs it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
from prometheus_client import start_http_server

from control_plane.edge_agent.admin import Admin
from control_plane.edge_agent.channels import ClientTls
from control_plane.edge_agent.metrics import AgentMetrics, ReporterMetrics
from control_plane.edge_agent.relay import Relay
from control_plane.edge_agent.reporter import Reporter
from control_plane.edge_agent.saver import Saver
from control_plane.edge_agent.store import SnapshotStore
from control_plane.edge_agent.upstream import ControlPlane
from control_plane.process.event_loop import until_signal
from control_plane.xds.server.transport import MAX_SENT_BYTES, ping_options

log = logging.getLogger(__name__)
MAX_STREAMS = 16
"""Streams of the one Envoy at once: those that have not ended yet, and the new one."""
GRACE_S = 1.0
"""How long open streams may go on when the agent stops."""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Where the control plane is, where Envoy finds the agent, and where snapshots are kept."""

    xds: str
    """``host:port`` of the control plane."""
    directory: Path
    host: str = "127.0.0.1"
    """Loopback, because the connection to Envoy is not encrypted."""
    port: int = 18002
    """0: any free port."""
    metrics_port: int | None = None
    """On ``host``; None: metrics are not served."""
    tls: ClientTls | None = None
    envoy_admin: tuple[str, int] | None = None
    """Host and port of the admin interface of the Envoy whose view of its endpoints is reported;
    None: nothing is reported."""


@dataclass(frozen=True, slots=True)
class RunningAgent:
    """An agent that serves."""

    port: int
    store: SnapshotStore
    metrics: AgentMetrics


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
        saver = Saver(store, metrics)
        stack.push_async_callback(saver.finish)
        if settings.metrics_port is not None:
            _serve_metrics(settings.host, settings.metrics_port, metrics, stack)
        server = _grpc_server()
        Relay(plane, store, saver, metrics).register(server)
        port = _bind(server, settings.host, settings.port)
        writing = asyncio.create_task(saver.run())
        stack.push_async_callback(_end, writing)
        stack.push_async_callback(server.stop, GRACE_S)
        await server.start()
        if settings.envoy_admin is not None:
            counts = ReporterMetrics(metrics.registry)
            await stack.enter_async_context(reporting(settings.envoy_admin, plane, counts))
        yield RunningAgent(port, store, metrics)


def _serve_metrics(
    host: str, port: int, metrics: AgentMetrics, stack: contextlib.AsyncExitStack
) -> None:
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
async def reporting(
    admin: tuple[str, int], plane: ControlPlane, metrics: ReporterMetrics | None = None
) -> AsyncIterator[None]:
    """Report what the Envoy with this admin interface holds healthy, until the block is left."""
    envoy = Admin(*admin)
    task = asyncio.create_task(Reporter(envoy, plane, metrics).run())
    try:
        yield
    finally:
        await _end(task)
        await envoy.close()


@contextlib.asynccontextmanager
async def reporting_to(xds: str, admin_port: int) -> AsyncIterator[None]:
    """Report for an Envoy on this machine, over a plaintext connection, until the block is left."""
    plane = ControlPlane(xds)
    try:
        async with reporting(("127.0.0.1", admin_port), plane):
            yield
    finally:
        await plane.close()


def _load(store: SnapshotStore, metrics: AgentMetrics) -> None:
    saved = store.load()
    metrics.bad.set(len(store.bad))
    metrics.revision.set(saved.revision if saved is not None else 0)
    if saved is not None:
        log.info("the snapshot on disk is of revision %d", saved.revision)
    else:
        log.warning("there is no snapshot on disk: an Envoy that starts now needs a control plane")


def _bind(server: grpc.aio.Server, host: str, port: int) -> int:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"can't listen on {address}: {error}") from error


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def serve(settings: AgentSettings, announce: Callable[[str], None]) -> None:
    """Run an agent until a signal comes.

    Args:
        settings: How to run it.
        announce: Called with a line to print once it is up.
    """
    signalled = asyncio.create_task(until_signal())
    async with running(settings) as agent:
        announce(f"the agent is up; Envoy's control plane is {settings.host}:{agent.port}")
        await signalled
