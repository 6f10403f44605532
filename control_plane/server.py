"""The composition root: the one place where the parts are wired together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry
from starlette.concurrency import run_in_threadpool

from control_plane.api.app import create_app
from control_plane.classifier.cache.tiered import CachedLookup, open_cached_lookup
from control_plane.classifier.decide import Decider
from control_plane.classifier.grpc import Authorization
from control_plane.classifier.http import ClassifierServer
from control_plane.classifier.worker.directory import worker_directory
from control_plane.classifier.worker.supervisor import Workers
from control_plane.edge_health import service as edge_health
from control_plane.edge_health.book import Book
from control_plane.grpc_api.api import TopologyApi
from control_plane.grpc_api.auth.identity import Names
from control_plane.grpc_api.auth.tls import TlsFiles
from control_plane.grpc_api.directory import LiveDirectories
from control_plane.grpc_api.metrics import GrpcMetrics, gateway_counter
from control_plane.grpc_api.server.methods import Pools
from control_plane.grpc_api.server.pool import Work
from control_plane.grpc_api.server.port import GrpcPort, Security
from control_plane.grpc_api.server.write_queue import THREADS, Updates
from control_plane.grpc_api.services.gateway import CacheTimes, Gateway
from control_plane.jobs.cell_health import HealthMonitor
from control_plane.jobs.change_retention import Kept, Retention
from control_plane.jobs.edge_decisions import EdgeDecisions, of_cells
from control_plane.jobs.notifications import WakeUps
from control_plane.metrics.claim_counts import ClaimCounts
from control_plane.metrics.database import observe_queries
from control_plane.metrics.server import Metrics, State
from control_plane.process.event_loop import run_loop as run_loop
from control_plane.process.event_loop import until_signal as until_signal
from control_plane.process.listening import bind, embedded, host_port, port_of, run
from control_plane.publisher.publisher import Publisher, newest_revision
from control_plane.settings import API_PORT, CLASSIFIER_PORT, GRPC_PORT, Settings, check_exposure
from control_plane.topology.service import Topology
from control_plane.traffic import traffic_policy
from control_plane.xds.fleet import client_status
from control_plane.xds.fleet.fleet import Fleet
from control_plane.xds.server.server import SERVICES, XdsServer
from control_plane.xds.server.transport import grpc_options
from control_plane.xds.snapshot_cache import SnapshotCache

log = logging.getLogger(__name__)
GRACE_S = 2.0
"""How long streams and requests may take to end at shutdown."""
HEALTH_SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
LOOKUP_THREADS = 4
"""Look-ups of claims at once on PostgreSQL, each over a connection of its own."""
LOOPBACK_ONLY = (
    "gRPC listens on loopback only, since it has no TLS: set --grpc-tls-certificate, -key and "
    "-client-ca (or CELLWAY_GRPC_TLS_…), or CELLWAY_GRPC_PLAINTEXT_BEYOND_LOOPBACK=true"
)


@dataclass(slots=True)
class Ports:
    """Where things ended up listening; 0: not at all."""

    api: int = 0
    grpc: int = 0
    classifier: int = 0


@dataclass(slots=True)
class Running:
    """A control plane that is up."""

    settings: Settings
    topology: Topology
    fleet: Fleet
    ports: Ports
    registry: CollectorRegistry
    xds: XdsServer | None = None
    edges: Book = field(default_factory=Book)
    """What the Envoys that report to this process hold of their clusters."""
    live: LiveDirectories | None = None
    pools: Pools | None = None
    workers: list[asyncio.subprocess.Process] = field(default_factory=list)


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Start everything that the roles ask for; on leaving, stop it in order.

    Raises:
        TokenNeeded: the API would be open to the network.
        OSError: a port is taken, or the TLS files can't be used.
    """
    check_exposure(settings)
    if settings.grpc_tls is not None:
        # Before anything starts.
        TlsFiles(*settings.grpc_tls).read()
    if settings.redis_url is not None and settings.database_url.startswith("sqlite"):
        log.warning("redis_url is not used: with SQLite a look-up costs less than asking Redis")
    topology = Topology.open(settings.database_url, sequence_mark=settings.mark_file)
    stack = contextlib.AsyncExitStack()
    async with stack:
        stack.callback(topology.close)
        worker_files = stack.enter_context(worker_directory(settings.data_dir))
        metrics = Metrics(worker_files)
        observe_queries(topology.engine, metrics.queried)
        plane = Running(settings, topology, Fleet(metrics), Ports(), metrics.registry)
        group = await stack.enter_async_context(_tasks())
        group(WakeUps(topology).run())
        if {"api", "topology"} & set(settings.roles):
            _open_lookups(plane, stack)
        await _start_classifier(plane, metrics, worker_files, stack, group)
        publisher = await _start_xds(plane, metrics, stack, group)
        if "api" in settings.roles:
            sock = bind(settings.host, settings.api_port, API_PORT)
            plane.ports.api = port_of(sock)
            counts = ClaimCounts(topology.count_claims, time.monotonic)
            stack.push_async_callback(counts.close)
            app = create_app(
                topology,
                plane.fleet,
                metrics=lambda: _scrape(plane, metrics, counts, publisher),
                alarm=lambda: _alarm(plane, publisher),
                token=settings.api_token.get_secret_value() if settings.api_token else None,
                gateway=_gateway(plane, metrics),
                edges=plane.edges,
            )
            stack.push_async_callback(app.state.operations.close)
            group(run(embedded(app), sock))
        if {"api", "topology"} & set(settings.roles):
            group(Retention(topology, changes_kept(settings)).run())
        if "topology" in settings.roles:
            # What other DNS servers make of a name, we can't know.
            names = not settings.edge_dns_resolvers
            group(HealthMonitor(topology, settings.health_interval_s, names=names).run())
        yield plane


async def _scrape(
    plane: Running, metrics: Metrics, counts: ClaimCounts, publisher: Publisher | None
) -> bytes:
    snapshot = await run_in_threadpool(plane.topology.snapshot)
    leases = await run_in_threadpool(plane.topology.lease_backlog)
    sequences = await run_in_threadpool(plane.topology.sequence_uses)
    mark = await run_in_threadpool(plane.topology.sequence_mark)
    plane.fleet.give_up_late()
    state = State(
        # The fleet belongs to this thread.
        nodes=plane.fleet.nodes(),
        cells=snapshot.cells,
        claims=await counts.get(),
        ruleset_active=snapshot.ruleset is not None,
        publication_refused=_alarm(plane, publisher) is not None,
        leases=leases,
        sequences=sequences,
        sequences_restored=mark.restored,
        reporters=len(plane.edges.nodes),
        edges=of_cells(plane.edges.counts),
    )
    return await run_in_threadpool(metrics.render, state)


def _open_lookups(plane: Running, stack: contextlib.AsyncExitStack) -> None:
    """What the Topology Service reads and writes through; closed after all who use it."""
    settings = plane.settings
    plane.live = LiveDirectories(plane.topology)
    stack.callback(plane.live.close)
    lookups = None
    if not settings.database_url.startswith("sqlite"):
        # Over a network they take their time, during which the loop has other things to do.
        lookups = Work(threads=LOOKUP_THREADS, max_calls=settings.grpc_max_calls)
        stack.push_async_callback(lookups.close)
    pool = Work(threads=settings.grpc_threads, max_calls=settings.grpc_max_calls)
    stack.push_async_callback(pool.close)
    updates = Updates(
        plane.topology.carry_out,
        max_calls=settings.grpc_max_calls,
        threads=min(THREADS, settings.grpc_threads),
    )
    stack.push_async_callback(updates.close)
    plane.pools = Pools(pool, updates, lookups)


def _gateway(plane: Running, metrics: Metrics) -> Gateway:
    assert plane.live is not None
    assert plane.pools is not None
    settings = plane.settings
    times = CacheTimes(settings.classify_max_age_s, settings.classify_negative_max_age_s)
    called = gateway_counter(metrics.registry)
    return Gateway(plane.live, times, called, plane.pools.lookups)


@contextlib.asynccontextmanager
async def _tasks() -> AsyncIterator[Callable[..., None]]:
    """Background tasks that end with the block; the first that fails ends the program.

    Others that fail after it are only logged: another cancellation would break off the stopping of
    what runs, and a gRPC server that is not stopped to its end keeps the process from ending.
    """
    tasks: set[asyncio.Task[None]] = set()
    owner = asyncio.current_task()

    def start(work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(ended)

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.critical("a part has failed", exc_info=task.exception())
            if owner is not None and not owner.cancelling():
                owner.cancel()

    try:
        yield start
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _start_classifier(
    plane: Running,
    metrics: Metrics,
    worker_files: Path,
    stack: contextlib.AsyncExitStack,
    group: Callable[..., None],
) -> None:
    settings = plane.settings
    if "classifier" not in settings.roles:
        return
    if settings.classifier_workers == 0:
        sock = bind(settings.host, settings.classifier_port, CLASSIFIER_PORT)
        plane.ports.classifier = port_of(sock)
        decider, lookup = _decider(plane, metrics, stack)
        group(ClassifierServer(decider, metrics, lookup).run(sock))
        return
    workers = Workers(
        host=settings.host,
        port=settings.classifier_port,
        count=settings.classifier_workers,
        database_url=settings.database_url,
        redis_url=settings.redis_url,
        directory=worker_files,
        restart_s=settings.classifier_restart_s,
        observer=metrics,
        setting=CLASSIFIER_PORT,
    )
    stack.push_async_callback(workers.stop)
    plane.ports.classifier = workers.port
    plane.workers = workers.processes
    await workers.start()
    group(workers.run())


def _decider(
    plane: Running, metrics: Metrics, stack: contextlib.AsyncExitStack
) -> tuple[Decider, CachedLookup | None]:
    """What one of the two classifiers decides with."""
    decider = Decider(plane.topology)
    stack.callback(decider.close)
    lookup = open_cached_lookup(plane.topology, metrics, plane.settings.redis_url)
    if lookup is not None:
        stack.push_async_callback(lookup.close)
    return decider, lookup


def changes_kept(settings: Settings) -> Kept:
    """What is kept of the change feed."""
    return Kept(
        settings.changes_kept_days, settings.changes_kept_revisions, settings.changes_archive
    )


async def _start_xds(
    plane: Running, metrics: Metrics, stack: contextlib.AsyncExitStack, group: Callable[..., None]
) -> Publisher | None:
    """gRPC: ADS, the Topology Service, ext_authz, health and reflection."""
    settings = plane.settings
    if not {"xds", "classifier", "topology"} & set(settings.roles):
        return None
    counts = GrpcMetrics(metrics.registry)
    port = GrpcPort(_security(settings), counts, grpc_options(), max_rpcs=settings.grpc_max_rpcs)
    server = port.server
    services = [HEALTH_SERVICE, reflection.SERVICE_NAME]
    if "topology" in settings.roles:
        assert plane.live is not None
        assert plane.pools is not None
        api = TopologyApi(plane.topology, plane.live, plane.pools)
        services += api.register(server, counts)
    if "classifier" in settings.roles:
        services.append("envoy.service.auth.v3.Authorization")
        decider, lookup = _decider(plane, metrics, stack)
        Authorization(decider, metrics, lookup).register(server)
    cache = SnapshotCache()
    if "xds" in settings.roles:
        plane.xds = XdsServer(
            cache,
            plane.fleet,
            newest=newest_revision(plane.topology),
            force_shrink=settings.force_shrink,
        )
        plane.xds.register(server)
        client_status.ClientStatus(plane.fleet).register(server)
        reports = edge_health.HealthReports(plane.edges, metrics)
        reports.register(server)
        connected = lambda: plane.fleet.connected_nodes  # noqa: E731
        group(EdgeDecisions(plane.topology, plane.edges, connected=connected).run())
        services += [*SERVICES, client_status.SERVICE, edge_health.SERVICE]
    servicer = HealthServicer()
    for name in ("", *services):
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection(services, server)
    if settings.grpc_host != settings.host:
        log.warning("%s", LOOPBACK_ONLY)
    plane.ports.grpc = port.bind(settings.grpc_host, settings.grpc_port, GRPC_PORT)
    publisher = None
    if plane.xds is not None:
        publisher = Publisher(
            plane.topology,
            cache,
            traffic_policy(
                settings, grpc_port=plane.ports.grpc, classifier_port=plane.ports.classifier
            ),
            poll_interval_s=settings.poll_interval_s,
            force=settings.force_shrink,
            on_published=plane.fleet.published,
        )
        publisher.publish()
        group(publisher.run())

    async def stop() -> None:
        await servicer.enter_graceful_shutdown()
        if plane.xds is not None:
            plane.xds.stop()
            reports.stop()
        await server.stop(GRACE_S)

    stack.push_async_callback(stop)
    await server.start()
    return publisher


def _alarm(plane: Running, publisher: Publisher | None) -> str | None:
    """Why some node does not get the newest revision, if a guard keeps it from that."""
    refused = publisher.alarm if publisher is not None else None
    return refused or (plane.xds.alarm if plane.xds is not None else None)


def _security(settings: Settings) -> Security | None:
    """Mutual TLS, if it is set up; raises OSError where its files can't be used."""
    files = settings.grpc_tls
    if files is None:
        return None
    return Security(TlsFiles(*files), Names(settings.grpc_names()))


async def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Run until a signal comes."""
    # From the first moment on: a signal during the start must not leave workers behind.
    signalled = asyncio.create_task(until_signal())
    async with running(settings) as plane:
        ports = plane.ports
        announce(f"cellway is up (pid {os.getpid()})")
        if ports.api:
            announce(f"  API         http://{host_port(settings.host, ports.api)}")
        if ports.grpc:
            announce(f"  gRPC (xDS)  {host_port(settings.grpc_host, ports.grpc)}")
            if settings.grpc_host != settings.host:
                announce(f"              {LOOPBACK_ONLY}")
        if ports.classifier:
            announce(f"  classifier  http://{host_port(settings.host, ports.classifier)}")
        await signalled
