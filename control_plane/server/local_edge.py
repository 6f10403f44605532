"""The edge of `cellway up`: its port, its Envoy, and whether that Envoy listens on that port.

Two systems must never share a port, but Envoy would let them (see `reserve` in
`process.listening`). So `cellway up` reserves the port before anything starts.

A `cellway up` that was killed has left an Envoy that still serves. If that Envoy has the same
bootstrap, the next `cellway up` goes on with it, and no request is lost. Otherwise it drains that
Envoy and starts a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from control_plane.names import LISTENER_NAME
from control_plane.process.admin_address import AdminAddress
from control_plane.process.envoy import Envoy, LeftEnvoy
from control_plane.process.envoy_admin import POLL_S, AdminSilent, EnvoyAdmin
from control_plane.process.listening import numeric, port_of, reserve
from control_plane.process.private_files import data_directory, private_file
from control_plane.server.plane import Running
from control_plane.settings import Settings
from control_plane.xds.session.status import SyncState

EDGE_PORT = "--edge-port (CELLWAY_EDGE_PORT), 0 for any free one"
ADMIN_PORT = "--envoy-admin-port (CELLWAY_ENVOY_ADMIN_PORT)"
STATS_PORT = "--envoy-stats-port (CELLWAY_ENVOY_STATS_PORT)"
LISTENS_S = 20.0
"""How long an Envoy that has joined the fleet may take until it listens."""
LISTENER = "Listener"
"""The key of listeners in what `refused` returns."""
Say = Callable[[str], None]
"""Shows the operator a line."""


class NoEdge(Exception):
    """The edge does not work; the message says why."""


@contextlib.contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Keep a second `cellway up` away from a data directory.

    Raises:
        NoEdge: another one runs in that directory.
    """
    data_directory(data_dir)
    private_file(data_dir / "up.lock")
    with (data_dir / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            text = f"a `cellway up` (pid {lock.read()}) runs in {data_dir} already: give --data-dir"
            raise NoEdge(text) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


class LocalEdge:
    """The edge's port, which is taken before the control plane starts, and then its Envoy."""

    def __init__(self, settings: Settings, say: Say, *, outlive: bool) -> None:
        """Prepare the edge; nothing is taken or started yet.

        Args:
            settings: Say on which port to listen, and where Envoy's files go.
            say: Is told what happens to an Envoy of an earlier run.
            outlive: Whether the Envoy goes on when this process is killed.
        """
        self._settings = settings
        self._say = say
        self._outlive = outlive
        self._directory = settings.data_dir / "envoy"
        self._host = numeric(settings.edge_host)
        self._reserved: socket.socket | None = None
        self._left: LeftEnvoy | None = None
        self.port = settings.edge_port

    async def take_port(self) -> None:
        """Reserve the port. An Envoy that an earlier run has left may listen on it already.

        Raises:
            OSError: another program has the port, or there is no such address.
        """
        self._left = LeftEnvoy.find(self._directory)
        ports = await self._ports_of_left()
        if self.port == 0 and ports:
            self.port = ports[0]
        self._reserved = reserve(
            self._settings.edge_host, self.port, EDGE_PORT, beside=self.port in ports
        )
        self.port = port_of(self._reserved)

    async def _ports_of_left(self) -> list[int]:
        """Return the ports on which the Envoy of an earlier run listens, at whatever address.

        The address does not matter: with another `edge_host`, that Envoy is told to listen there.
        """
        if self._left is None:
            return []
        try:
            listening = await self._left.admin.listens_on(LISTENER_NAME)
        except AdminSilent:
            # An Envoy whose admin interface is silent is stuck, so it serves nothing either.
            self._say(f"Envoy of an earlier run (pid {self._left.pid}) does not answer: ending it")
            await self._left.stop()
            return []
        return sorted(port for _, port in listening)

    def give_back(self) -> None:
        """Give the reserved port back."""
        if self._reserved is not None:
            self._reserved.close()

    async def run(self, bootstrap: str, modules: Path | None = None) -> tuple[Envoy, AdminAddress]:
        """Start an Envoy, or go on with the one of an earlier run.

        Args:
            bootstrap: Its configuration, as JSON.
            modules: Where it looks for modules; None: nowhere.

        Returns:
            The Envoy and where its admin interface is.

        Raises:
            EnvoyEnded: it does not start.
            OSError: no Envoy is installed, or a port is taken.
        """
        left = LeftEnvoy.find(self._directory)
        proxy = Envoy(bootstrap, self._directory, outlive=self._outlive, modules=modules)
        if left is not None and left.runs(bootstrap) and await _is_live(left):
            self._say(f"Envoy of an earlier run (pid {left.pid}) has served on: going on with it")
            return proxy, proxy.adopt(left)
        if left is not None:
            bound = f"at most {self._settings.drain_s:g} s"
            self._say(f"Envoy of an earlier run (pid {left.pid}) is drained ({bound}), replaced")
            with contextlib.suppress(AdminSilent):
                await left.admin.drain(self._settings.drain_s)
            await left.stop()
        settings = self._settings
        own = ((settings.envoy_admin_port, ADMIN_PORT), (settings.envoy_stats_port, STATS_PORT))
        for port, setting in own:
            if port:
                reserve("127.0.0.1", port, setting).close()
        return proxy, await proxy.start()

    async def listens(self, plane: Running, node_id: str, admin: EnvoyAdmin) -> bool:
        """Wait until Envoy listens on the port.

        Returns:
            False if there is nothing to listen for, because no ruleset is active.

        Raises:
            NoEdge: it does not listen. The message quotes Envoy if it has refused something.
        """
        if plane.topology.snapshot().ruleset is None:
            return False
        end = asyncio.get_running_loop().time() + LISTENS_S
        while (self._host, self.port) not in await admin.listens_on(LISTENER_NAME):
            errors = refused(plane, node_id)
            late = asyncio.get_running_loop().time() > end
            if LISTENER in errors or late:
                where = f"the edge does not listen on {self._settings.edge_host}:{self.port}"
                words = "; ".join(errors.values()) or f"Envoy has not said why in {LISTENS_S:g} s"
                raise NoEdge(f"{where}: {words}")
            await asyncio.sleep(POLL_S)
        return True


async def _is_live(left: LeftEnvoy) -> bool:
    """Return whether it serves. One that was draining when its parent was killed never will."""
    try:
        return await left.admin.live()
    except AdminSilent:
        return False


def refused(plane: Running, node_id: str) -> dict[str, str]:
    """Return what a node has refused: Envoy's words, by the type's last name ("Listener")."""
    return {
        status.type_url.rpartition(".")[2]: status.error
        for node in plane.fleet.nodes()
        if node.id == node_id
        for status in node.types
        if status.state is SyncState.NACKED
    }


async def drain(proxy: Envoy, admin: EnvoyAdmin, bound_s: float, say: Say) -> None:
    """Let the requests under way end, for at most ``bound_s`` seconds, and say so if there are any.

    An Envoy that does not answer is not waited for.
    """
    try:
        await admin.stop_accepting()
        # Give Envoy the time to read the requests that have come in already: it counts them then.
        await asyncio.sleep(POLL_S)
        under_way = await admin.under_way()
        if not under_way or not proxy.running:
            return
        say(f"draining: {under_way} requests under way, at most {bound_s:g} s; again: end at once")
        unanswered = await admin.drain(bound_s)
    except AdminSilent:
        return
    if unanswered:
        say(f"{unanswered} requests were still under way after {bound_s:g} s and are cut")
