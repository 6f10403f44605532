"""Runs the control plane on this machine, alone or with an Envoy that it configures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from control_plane.cli.client import Exit, Failure
from control_plane.cli.local.database import failure_of
from control_plane.cli.local.edge_module import NO_MODULE, LocalModule, local_module
from control_plane.cli.local.process import run, start_logging
from control_plane.cli.output import messages
from control_plane.compiler.bootstrap import FleetMember, compile_bootstrap
from control_plane.edge_agent.agent import reporting_to
from control_plane.names import STATS_LISTENER
from control_plane.process.admin_address import AdminAddress
from control_plane.process.envoy import ADMIN_SOCKET, Envoy, EnvoyEnded, EnvoyLeft
from control_plane.process.envoy_admin import AdminSilent, EnvoyAdmin
from control_plane.process.event_loop import settle, until_signal
from control_plane.process.listening import host_port, reachable
from control_plane.process.unix_socket import socket_in
from control_plane.server import Running, VitalTaskEnded, running, serve
from control_plane.server.local_edge import LocalEdge, NoEdge, drain, only_one, refused
from control_plane.settings import BadSetting, Settings, TokenNeeded
from control_plane.topology.values.errors import TopologyError

LOCAL_NODE = "local"
"""The node id of this machine's Envoy."""
JOIN_S = 15.0
"""How long the Envoy may take until it connects to the control plane."""


def serve_here(settings: Settings) -> None:
    """Run a control plane until a signal comes.

    Raises:
        Failure: it can't start or go on; the message says why.
    """
    start_logging()
    with failures_of_command(settings):
        run(serve(settings, messages.print))


def up_here(settings: Settings) -> None:
    """Run a control plane and an Envoy until a signal comes.

    Raises:
        Failure: it can't start, or its Envoy has ended; the message says why.
    """
    start_logging()
    with failures_of_command(settings):
        run(_up(settings))


@contextlib.contextmanager
def failures_of_command(settings: Settings | None = None) -> Iterator[None]:
    """Raise what keeps the system from starting, or ends it, as failures of a command."""
    try:
        yield
    except BadSetting as error:
        raise Failure(f"the configuration is wrong\n  {error}", Exit.USAGE) from error
    except TokenNeeded as error:
        raise Failure(str(error), Exit.REFUSED) from error
    except TopologyError as error:
        url = None if settings is None else settings.database_url
        raise failure_of(error, url) from error
    except (AdminSilent, EnvoyEnded, EnvoyLeft, NoEdge, VitalTaskEnded) as error:
        raise Failure(str(error)) from error


@contextlib.asynccontextmanager
async def everything(
    settings: Settings, *, outlive: bool = False
) -> AsyncIterator[tuple[Running, Envoy, AdminAddress]]:
    """Run a control plane and an Envoy that it configures, until the block is left.

    Args:
        outlive: the Envoy goes on when this process is killed.

    Yields:
        The control plane, the Envoy and where its admin interface is.

    Raises:
        Failure: the edge would not work.
        NoEdge, AdminSilent, EnvoyEnded, EnvoyLeft: see there.
        OSError: a port is taken.
    """
    if settings.grpc_tls is not None:
        text = "the Envoy of `cellway up` has no certificate: leave grpc_tls_* out, or use serve"
        raise Failure(text, Exit.REFUSED)
    module = await asyncio.to_thread(local_module, settings.edge_module)
    _tell(settings, module)
    with only_one(settings.data_dir):
        edge = LocalEdge(settings, _say, outlive=outlive)
        try:
            await edge.take_port()
            chosen = settings.model_copy(update={"edge_port": edge.port})
            async with running(chosen) as plane:
                proxy, admin = await edge.run(
                    local_bootstrap(chosen, plane, module), module.directory
                )
                try:
                    await _joined(plane, edge, proxy, admin)
                    xds = host_port(reachable(settings.grpc_host), plane.ports.grpc)
                    async with reporting_to(xds, admin):
                        yield plane, proxy, admin
                finally:
                    await proxy.stop()
        finally:
            edge.give_back()


async def _joined(plane: Running, edge: LocalEdge, proxy: Envoy, admin: AdminAddress) -> None:
    """Wait until the Envoy has joined and listens, and say what is wrong although it runs."""
    if not await plane.fleet.joined(LOCAL_NODE, JOIN_S):
        raise Failure(f"Envoy does not reach the control plane: {proxy.tail()}")
    listens = await edge.listens(plane, LOCAL_NODE, EnvoyAdmin(admin))
    if plane.xds is not None and plane.xds.alarm is not None:
        _say(f"ALARM: {plane.xds.alarm}")
    elif not listens:
        _say("no ruleset is active: the edge listens when one is (cellway rules apply)")
    for type_name, words in refused(plane, LOCAL_NODE).items():
        _say(f"Envoy refuses a {type_name}: {words}")


def _tell(settings: Settings, module: LocalModule) -> None:
    """Say by which tiers this machine's Envoy decides."""
    if module.file is not None:
        _say("tiers: native, edge map (a module in Envoy), edge cache, classifier")
    elif settings.edge_module != "off":
        _say(f"tiers: native, edge cache, classifier. No edge map: {module.why_not}")


def _say(text: str) -> None:
    messages.print(text, markup=False)


def local_bootstrap(settings: Settings, plane: Running, module: LocalModule = NO_MODULE) -> str:
    """Return the bootstrap of this machine's Envoy."""
    port = settings.envoy_admin_port
    member = FleetMember(
        LOCAL_NODE,
        "local",
        xds=(reachable(settings.grpc_host), plane.ports.grpc),
        admin=_admin_socket(settings) if port is None else ("127.0.0.1", port),
        module=str(module.file or ""),
        stats_port=settings.envoy_stats_port,
    )
    return compile_bootstrap(member)


def _admin_socket(settings: Settings) -> str:
    return str(socket_in(settings.data_dir / "envoy", ADMIN_SOCKET))


async def _up(settings: Settings) -> None:
    # From the first moment on: a signal during the start must not leave an Envoy behind.
    signalled = asyncio.create_task(until_signal())
    async with everything(settings, outlive=True) as (plane, proxy, admin):
        settle()
        if signalled.done():
            return
        edge = host_port(settings.edge_host, plane.settings.edge_port)
        messages.print(f"edge (Envoy)  http://{edge}")
        messages.print(f"Envoy admin   {admin} (log: {proxy.log})", soft_wrap=True)
        if settings.envoy_stats_port is not None:
            messages.print(f"Envoy stats   {await _stats_page(EnvoyAdmin(admin))}")
        api = host_port(settings.host, plane.ports.api)
        messages.print(f"API           {settings.api_scheme}://{api}")
        messages.print(f"gRPC (xDS)    {host_port(settings.grpc_host, plane.ports.grpc)}")
        messages.print("Ctrl-C stops everything.")
        await _until_ended(signalled, proxy)
        again = asyncio.create_task(until_signal())
        draining = asyncio.create_task(drain(proxy, EnvoyAdmin(admin), settings.drain_s, _say))
        await asyncio.wait({again, draining}, return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()


async def _stats_page(admin: EnvoyAdmin) -> str:
    """Return the address for Prometheus."""
    ports = [port for _, port in await admin.listens_on(STATS_LISTENER)]
    return f"http://127.0.0.1:{ports[0]}/stats/prometheus" if ports else "(not there)"


async def _until_ended(signalled: asyncio.Task[None], proxy: Envoy) -> None:
    """Wait for a signal. Without its Envoy nothing serves, so that whoever restarts us should."""
    dead = asyncio.create_task(proxy.ended())
    await asyncio.wait({signalled, dead}, return_when=asyncio.FIRST_COMPLETED)
    dead.cancel()
    if not signalled.done():
        raise EnvoyEnded(f"Envoy has ended, so nothing serves any more (its log: {proxy.log})")
