"""Starts a control plane: the parts that its roles ask for, in order, and stops them in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec

from control_plane.classifier.metrics import ClassifierMetrics
from control_plane.classifier.worker.directory import worker_directory
from control_plane.jobs.database_watch import DatabaseWatch
from control_plane.jobs.move_deadlines import MoveDeadlines
from control_plane.jobs.notifications import CommitNotifications
from control_plane.metrics.server import Metrics
from control_plane.owners.source.builder import BaseBuilder
from control_plane.owners.source.feed import READ_FEED_S, OwnersFeed
from control_plane.process.background import background_tasks
from control_plane.process.event_loop import settle, until_signal
from control_plane.process.listening import check_free, host_port, is_of_this_machine
from control_plane.process.loop_lag import LoopLag
from control_plane.server.advertised import Advertised, announcements, check_advertised
from control_plane.server.api_role import ApiRole, api_tls
from control_plane.server.classifier_role import (
    GrpcClassifier,
    check_classifier_tls,
    start_classifier,
)
from control_plane.server.foundation import Foundation
from control_plane.server.grpc_listener import LOOPBACK_ONLY, GrpcListener, security_of
from control_plane.server.plane import Running
from control_plane.server.private_data import tighten_files
from control_plane.server.topology_role import (
    TopologyAccess,
    care_for_changes,
    serve_topology,
    step_drains,
    watch_cells,
)
from control_plane.server.xds_role import XdsRole
from control_plane.settings import GRPC_PORT, BadSetting, Settings, check_exposure
from control_plane.topology import Topology
from control_plane.topology.values.endpoint_policy import (
    DENIED_BY_DEFAULT,
    EndpointPolicy,
    networks,
)
from control_plane.xds.fleet.fleet import Fleet

log = logging.getLogger(__name__)
USUAL_ADMIN_PORT = 9901
"""Where an Envoy of the fleet may have its admin interface, if its bootstrap gives it a port."""


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Start everything that the roles ask for; on leaving, stop it in order.

    Raises:
        TokenNeeded: the API would be open to the network.
        BadSetting: a setting can't be used.
        OSError: a port is taken, or the TLS files can't be used.
        VitalTaskEnded: a part without which nothing works has ended meanwhile.
    """
    _check(settings)
    tighten_files(settings)
    async with contextlib.AsyncExitStack() as stack:
        foundation = await _lay_foundation(settings, stack)
        yield await _start_roles(foundation, stack)


def _check(settings: Settings) -> None:
    """Raise what `running` would raise for these settings, before anything has started."""
    check_exposure(settings)
    check_advertised(settings)
    if settings.redis_url is not None and find_spec("redis") is None:
        raise BadSetting('redis_url: the client of Redis is missing: pip install "cellway[redis]"')
    security = security_of(settings)
    if security is not None:
        security.files.read()
    tls = api_tls(settings)
    if tls is not None:
        tls.read()
    check_classifier_tls(settings)


async def _lay_foundation(settings: Settings, stack: contextlib.AsyncExitStack) -> Foundation:
    """Open the database and start what does not depend on roles; the stack stops it."""
    own_ports = _chosen_ports(settings)
    topology = Topology.open(
        settings.database_url,
        sequence_mark=settings.mark_file,
        endpoint_policy=_endpoint_policy(settings, own_ports),
        anew=settings.new_database,
        min_capacity=settings.drain_min_capacity,
    )
    stack.callback(topology.close)
    if settings.redis_url is not None and topology.embedded:
        log.warning("redis_url is not used: with SQLite a look-up costs less than asking Redis")
    worker_files = stack.enter_context(worker_directory(settings.data_dir))
    metrics = Metrics(worker_files)
    metrics.database.observe(topology.engine)
    if topology.write_engine is not None:
        metrics.database.observe(topology.write_engine)
        metrics.database.observe_commits(topology.write_engine)
    metrics.database.watch(
        writable=lambda: topology.write_trouble is None, log_bytes=topology.log_bytes
    )
    tasks = await stack.enter_async_context(background_tasks(metrics.background))
    tasks.start("event loop lag", LoopLag(metrics.event_loop).run)
    tasks.start("wake-ups", CommitNotifications(topology).run)
    tasks.start("database watch", DatabaseWatch(topology).run)
    tasks.start("move deadlines", MoveDeadlines(topology).run)
    feed = _owners_feed(settings, topology)
    tasks.start("owners feed", feed.run)
    return Foundation(
        settings=settings,
        topology=topology,
        metrics=metrics,
        classifier_metrics=ClassifierMetrics(metrics.classifier),
        fleet=Fleet(metrics.fleet),
        tasks=tasks,
        own_ports=own_ports,
        owners=feed,
        worker_files=worker_files,
    )


def _owners_feed(settings: Settings, topology: Topology) -> OwnersFeed:
    builder = BaseBuilder(topology, settings.data_dir)
    return OwnersFeed(topology, builder, poll_s=min(READ_FEED_S, settings.poll_interval_s))


def _chosen_ports(settings: Settings) -> set[int]:
    """Return the ports of ours that the settings name; 0 names none."""
    ports = (settings.api_port, settings.grpc_port, settings.classifier_port, settings.edge_port)
    envoys = (settings.envoy_admin_port, settings.envoy_stats_port)
    return {port for port in (*ports, *envoys, USUAL_ADMIN_PORT) if port}


def _endpoint_policy(settings: Settings, own_ports: set[int]) -> EndpointPolicy:
    """Return where cells may be; ``own_ports`` may grow later."""
    denied = settings.endpoint_networks_denied
    return EndpointPolicy(
        allowed=networks(settings.endpoint_networks_allowed),
        denied=networks(DENIED_BY_DEFAULT if denied is None else denied),
        own_ports=own_ports,
        is_own=is_of_this_machine,
    )


async def _start_roles(foundation: Foundation, stack: contextlib.AsyncExitStack) -> Running:
    """Start the roles in their order; the stack stops them in the reverse order."""
    roles = frozenset(foundation.settings.roles)
    plane = Running.over(foundation)
    access = TopologyAccess.open(foundation)
    stack.push_async_callback(access.close)
    if "classifier" in roles:
        classifier = await start_classifier(foundation)
        stack.push_async_callback(classifier.stop)
        plane.ports.classifier, plane.workers = classifier.port, classifier.processes
        foundation.own_ports.add(classifier.port)
    if roles & {"xds", "classifier", "topology"}:
        await _start_grpc(foundation, access, plane, stack)
    if "api" in roles:
        api = ApiRole.start(foundation, access, plane)
        stack.push_async_callback(api.stop)
        plane.ports.api = api.port
        foundation.own_ports.add(api.port)
    if roles & {"api", "topology"}:
        care_for_changes(foundation)
        step_drains(foundation)
    if "topology" in roles:
        watch_cells(foundation)
    return plane


async def _start_grpc(
    foundation: Foundation,
    access: TopologyAccess,
    plane: Running,
    stack: contextlib.AsyncExitStack,
) -> None:
    """Start ADS, the Topology Service, ext_authz, health and reflection on one port."""
    roles = foundation.settings.roles
    # A gRPC server that is made and never started complains at the interpreter's end.
    check_free(foundation.settings.grpc_host, foundation.settings.grpc_port, GRPC_PORT)
    grpc = GrpcListener(foundation)
    grpc.bind()
    plane.ports.grpc = grpc.port
    foundation.own_ports.add(grpc.port)
    if "topology" in roles:
        serve_topology(foundation, access, grpc)
    if "classifier" in roles:
        classifier = GrpcClassifier.start(foundation, grpc)
        stack.push_async_callback(classifier.stop)
    if "xds" in roles:
        plane.advertised = Advertised.of(
            foundation.settings, grpc_port=grpc.port, classifier_port=plane.ports.classifier
        )
        plane.xds_role = XdsRole.start(foundation, grpc, classifier_port=plane.ports.classifier)
        # After the port: its streams ask for the newest revision until they end.
        stack.push_async_callback(plane.xds_role.server.close)
    stack.push_async_callback(grpc.stop)
    await grpc.start()


async def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Run until a signal comes; ``announce`` is told, line by line, where everything listens."""
    # From the first moment on: a signal during the start must not leave workers behind.
    signalled = asyncio.create_task(until_signal())
    async with running(settings) as plane:
        settle()
        if signalled.done():
            return
        ports = plane.ports
        announce(f"cellway is up (pid {os.getpid()})")
        if ports.api:
            announce(f"  API         {settings.api_scheme}://{host_port(settings.host, ports.api)}")
        if ports.grpc:
            announce(f"  gRPC (xDS)  {host_port(settings.grpc_host, ports.grpc)}")
            if settings.grpc_host != settings.host:
                announce(f"              {LOOPBACK_ONLY}")
        if ports.classifier:
            announce(f"  classifier  http://{host_port(settings.host, ports.classifier)}")
        if plane.advertised is not None:
            for line in announcements(settings, plane.advertised):
                announce(f"  {line}")
        await signalled
