"""Runs things on this machine. Imported only by commands that do: it brings the whole system in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from control_plane.cli.client import Exit, Failure
from control_plane.cli.output import messages
from control_plane.compiler.bootstrap import FleetMember, MemberTls, compile_bootstrap
from control_plane.edge_agent.agent import reporting_to
from control_plane.jobs.change_retention import ChangeRetention
from control_plane.process.envoy import Envoy, EnvoyEnded, EnvoyLeft
from control_plane.process.envoy_admin import AdminSilent, EnvoyAdmin
from control_plane.process.event_loop import run_loop, until_signal
from control_plane.process.listening import host_port, reachable
from control_plane.server import Running, changes_kept, running, serve
from control_plane.server.local_edge import LocalEdge, NoEdge, drain, only_one, refused
from control_plane.settings import BadSetting, Settings, TokenNeeded
from control_plane.topology import Reject, Topology
from control_plane.topology.maintenance import backup
from control_plane.topology.storage.engines import migrate, pending_migrations
from control_plane.topology.storage.store import Store
from control_plane.topology.values.errors import AlreadyExists, NotFound, Refused, TopologyError

LOCAL_NODE = "local"
JOIN_S = 15.0


def run_guarded(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine; what can't start says why."""
    try:
        run_loop(main)
    except BadSetting as error:
        raise Failure(f"the configuration is wrong\n  {error}", Exit.USAGE) from error
    except TokenNeeded as error:
        raise Failure(str(error), Exit.REFUSED) from error
    except (AdminSilent, EnvoyEnded, EnvoyLeft, NoEdge) as error:
        raise Failure(str(error)) from error
    except OSError as error:
        raise Failure(error.strerror or str(error)) from error


def serve_here(settings: Settings) -> None:
    """The control plane until a signal comes."""
    run_guarded(serve(settings, messages.print))


def up_here(settings: Settings) -> None:
    """Everything until a signal comes."""
    run_guarded(_up(settings))


@contextlib.asynccontextmanager
async def everything(
    settings: Settings, *, outlive: bool = False
) -> AsyncIterator[tuple[Running, Envoy, int]]:
    """A control plane and an Envoy that runs what it says; yields (plane, envoy, admin port).

    With ``outlive`` the Envoy goes on when this process is killed.

    Raises:
        Failure: the edge would not work.
    """
    if settings.grpc_tls is not None:
        text = "the Envoy of `cellway up` has no certificate: leave grpc_tls_* out, or use serve"
        raise Failure(text, Exit.REFUSED)
    with only_one(settings.data_dir):
        edge = LocalEdge(settings, _say, outlive=outlive)
        try:
            await edge.take_port()
            chosen = settings.model_copy(update={"edge_port": edge.port})
            async with running(chosen) as plane:
                proxy, admin = await edge.run(local_bootstrap(chosen, plane))
                try:
                    await _joined(plane, edge, proxy, admin)
                    xds = host_port(reachable(settings.grpc_host), plane.ports.grpc)
                    async with reporting_to(xds, admin):
                        yield plane, proxy, admin
                finally:
                    await proxy.stop()
        finally:
            edge.give_back()


async def _joined(plane: Running, edge: LocalEdge, proxy: Envoy, admin: int) -> None:
    if not await plane.fleet.joined(LOCAL_NODE, JOIN_S):
        raise Failure(f"envoy does not reach the control plane: {proxy.tail()}")
    listens = await edge.listens(plane, LOCAL_NODE, EnvoyAdmin(admin))
    if plane.xds is not None and plane.xds.alarm is not None:
        _say(f"ALARM: {plane.xds.alarm}")
    elif not listens:
        _say("no ruleset is active: the edge listens when one is (cellway rules apply)")
    for type_name, words in refused(plane, LOCAL_NODE).items():
        _say(f"Envoy refuses a {type_name}: {words}")


def _say(text: str) -> None:
    messages.print(text, markup=False)


def local_bootstrap(settings: Settings, plane: Running) -> str:
    """The bootstrap of this machine's Envoy."""
    member = FleetMember(
        LOCAL_NODE,
        "local",
        reachable(settings.grpc_host),
        plane.ports.grpc,
        settings.envoy_admin_port,
    )
    return compile_bootstrap(member)


async def _up(settings: Settings) -> None:
    # From the first moment on: a signal during the start must not leave an Envoy behind.
    signalled = asyncio.create_task(until_signal())
    async with everything(settings, outlive=True) as (plane, proxy, admin):
        edge = host_port(settings.edge_host, plane.settings.edge_port)
        messages.print(f"edge (Envoy)  http://{edge}")
        messages.print(f"Envoy admin   http://127.0.0.1:{admin} (log: {proxy.log})")
        messages.print(f"API           http://{host_port(settings.host, plane.ports.api)}")
        messages.print(f"gRPC (xDS)    {host_port(settings.grpc_host, plane.ports.grpc)}")
        messages.print("Ctrl-C stops everything.")
        await _until_ended(signalled, proxy)
        again = asyncio.create_task(until_signal())
        draining = asyncio.create_task(drain(proxy, EnvoyAdmin(admin), settings.drain_s, _say))
        await asyncio.wait({again, draining}, return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()


async def _until_ended(signalled: asyncio.Task[None], proxy: Envoy) -> None:
    """Wait for a signal. Without its Envoy nothing serves, so that whoever restarts us should."""
    dead = asyncio.create_task(proxy.ended())
    await asyncio.wait({signalled, dead}, return_when=asyncio.FIRST_COMPLETED)
    dead.cancel()
    if not signalled.done():
        raise EnvoyEnded(f"Envoy has ended, so nothing serves any more (its log: {proxy.log})")


def member_tls(files: tuple[Path | None, ...], server_name: str) -> MemberTls | None:
    """The TLS files of a fleet member, if all are given."""
    certificate, key, ca = map(str, files)
    return MemberTls(certificate, key, ca, server_name) if all(files) else None


def bootstrap(
    node_id: str,
    group: str,
    host: str,
    port: int,
    admin_port: int,
    *,
    sotw: bool,
    tls: MemberTls | None = None,
) -> str:
    """A fleet member's bootstrap as JSON."""
    member = FleetMember(node_id, group, host, port, admin_port, not sotw, tls)
    return compile_bootstrap(member)


def migrate_database(url: str) -> tuple[str, ...]:
    """Bring a schema up to date; the migrations that were run."""
    store = Store(url)
    pending = pending_migrations(store.engine)
    migrate(store.engine)
    store.close()
    return pending


def missing_migrations(url: str) -> tuple[str, ...]:
    """The migrations that a schema lacks."""
    store = Store(url)
    pending = pending_migrations(store.engine)
    store.close()
    return pending


@contextlib.contextmanager
def importing(
    url: str, *, actor: str, dry_run: bool
) -> Iterator[Callable[[list[str], int], dict[str, Any]]]:
    """Takes lines of an import straight into a database, whether or not a server uses it too."""
    with _told():
        topology = Topology.open(url, migrate_first=False)

    def take(lines: list[str], first: int) -> dict[str, Any]:
        rejects: list[Reject] = []
        with _told():
            done = topology.bulk.import_(
                lines,
                actor=actor,
                reject=rejects.append,
                progress=lambda _: None,
                dry_run=dry_run,
            )
        shown = [{**one.as_dict(), "line": one.line + first - 1} for one in rejects]
        return {"created": done.created, "present": done.present, "rejects": shown}

    try:
        yield take
    finally:
        topology.close()


def back_up_database(url: str, target: Path) -> int:
    """Copy a SQLite database; the revision that the copy holds."""
    with _told():
        return backup.back_up(url, target)


def restore_database(url: str, file: Path) -> int:
    """Put a copy in a SQLite database's place; the revision that it goes on from."""
    with _told():
        return backup.restore(url, file)


def prune_database(settings: Settings, *, dry_run: bool) -> tuple[int, int]:
    """Forget old changes; how many, and up to which revision they are gone."""
    kept = changes_kept(settings)
    with _told():
        topology = Topology.open(settings.database_url, migrate_first=False)
    with contextlib.closing(topology), _told():
        if dry_run:
            return kept.prunable(topology)
        try:
            rows = asyncio.run(ChangeRetention(topology, kept).round())
        except OSError as error:
            raise Failure(f"nothing more was forgotten: the archive: {error}") from error
        return rows, topology.changes.oldest()


def advance_database(url: str, above: int) -> int:
    """Take a revision above another; the new one."""
    store = Store(url)
    with contextlib.closing(store), _told():
        return backup.advance(store, above)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """The topology's errors as failures of a command."""
    try:
        yield
    except NotFound as error:
        raise Failure(str(error), Exit.NOT_FOUND) from error
    except AlreadyExists as error:
        raise Failure(str(error), Exit.CONFLICT) from error
    except Refused as error:
        raise Failure(str(error), Exit.REFUSED) from error
    except TopologyError as error:
        raise Failure(str(error)) from error
