"""The edge of `cellway up`: its port, its Envoy, and whether the one listens on the other.

Two systems must never share a port, and Envoy would let them (see `reserve` in
`process.listening`), so the port is taken before anything starts. A `cellway up` that was
killed has left an Envoy that serves on: if that has the same bootstrap, the next one goes on with
it, and no request is lost; else it is drained and a new one is started.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from control_plane.process.envoy import Envoy, LeftEnvoy
from control_plane.process.envoy_admin import POLL_S, AdminSilent, EnvoyAdmin
from control_plane.process.listening import numeric, port_of, reserve
from control_plane.server.plane import Running
from control_plane.settings import Settings
from control_plane.xds.session.status import SyncState

EDGE_PORT = "--edge-port (CELLWAY_EDGE_PORT), 0 for any free one"
ADMIN_PORT = "--envoy-admin-port (CELLWAY_ENVOY_ADMIN_PORT)"
LISTENS_S = 20.0
"""How long an Envoy may take until it listens, from when it has joined."""
LISTENER = "Listener"
Say = Callable[[str], None]


class NoEdge(Exception):
    """The edge does not work; the message says why."""


@contextlib.contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Keep a second `cellway up` away from a data directory.

    Raises:
        NoEdge: one is running there.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
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
    """The edge's port, from before the control plane starts, and later its Envoy."""

    def __init__(self, settings: Settings, say: Say, *, outlive: bool) -> None:
        """With ``outlive`` the Envoy goes on when this process is killed."""
        self._settings = settings
        self._say = say
        self._outlive = outlive
        self._directory = settings.data_dir / "envoy"
        self._host = numeric(settings.edge_host)
        self._reserved: socket.socket | None = None
        self._left: LeftEnvoy | None = None
        self.port = settings.edge_port

    async def take_port(self) -> None:
        """Reserve the port, which an Envoy that was left here may listen on already.

        Raises:
            OSError: it is taken, or there is no such address.
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
        if self._left is None:
            return []
        try:
            listening = await self._left.admin.listens_on()
        except AdminSilent:
            # It is stuck: what it can't tell us it won't serve either.
            self._say(f"Envoy of an earlier run (pid {self._left.pid}) does not answer: ending it")
            await self._left.stop()
            return []
        # At whatever address: with another `edge_host` it is told to listen there instead.
        return sorted(port for _, port in listening)

    def give_back(self) -> None:
        """Let others have the port."""
        if self._reserved is not None:
            self._reserved.close()

    async def run(self, bootstrap: str) -> tuple[Envoy, int]:
        """Start an Envoy, or go on with the one that was left; returns it and its admin port.

        Raises:
            EnvoyEnded: it does not start.
            OSError: there is none, or a port is taken.
        """
        left = LeftEnvoy.find(self._directory)
        proxy = Envoy(bootstrap, self._directory, outlive=self._outlive)
        if left is not None and left.runs(bootstrap) and await _is_live(left):
            self._say(f"Envoy of an earlier run (pid {left.pid}) has served on: going on with it")
            return proxy, proxy.adopt(left)
        if left is not None:
            bound = f"at most {self._settings.drain_s:g} s"
            self._say(f"Envoy of an earlier run (pid {left.pid}) is drained ({bound}), replaced")
            with contextlib.suppress(AdminSilent):
                await left.admin.drain(self._settings.drain_s)
            await left.stop()
        if self._settings.envoy_admin_port:
            with reserve("127.0.0.1", self._settings.envoy_admin_port, ADMIN_PORT):
                pass
        return proxy, await proxy.start()

    async def listens(self, plane: Running, node_id: str, admin: EnvoyAdmin) -> bool:
        """Wait until Envoy listens on the port; False if no ruleset says what it should serve.

        Raises:
            NoEdge: it does not, with Envoy's words if it has refused something.
        """
        if plane.topology.snapshot().ruleset is None:
            return False
        end = asyncio.get_running_loop().time() + LISTENS_S
        while (self._host, self.port) not in await admin.listens_on():
            errors = refused(plane, node_id)
            late = asyncio.get_running_loop().time() > end
            if LISTENER in errors or late:
                where = f"the edge does not listen on {self._settings.edge_host}:{self.port}"
                words = "; ".join(errors.values()) or f"Envoy has not said why in {LISTENS_S:g} s"
                raise NoEdge(f"{where}: {words}")
            await asyncio.sleep(POLL_S)
        return True


async def _is_live(left: LeftEnvoy) -> bool:
    """Whether it serves; one that was draining when its parent was killed would never again."""
    try:
        return await left.admin.live()
    except AdminSilent:
        return False


def refused(plane: Running, node_id: str) -> dict[str, str]:
    """Return what a node has refused, in Envoy's words, by type."""
    return {
        one.type_url.rpartition(".")[2]: one.error
        for node in plane.fleet.nodes()
        if node.id == node_id
        for one in node.types
        if one.state is SyncState.NACKED
    }


async def drain(proxy: Envoy, admin: EnvoyAdmin, bound_s: float, say: Say) -> None:
    """Let what is under way end, at most ``bound_s`` seconds, and say so if anything is."""
    try:
        await admin.stop_accepting()
        # What has come in already, and Envoy has not read yet, is under way too.
        await asyncio.sleep(POLL_S)
        under_way = await admin.under_way()
        if not under_way or not proxy.running:
            return
        say(f"draining: {under_way} requests under way, at most {bound_s:g} s; again: end at once")
        left = await admin.drain(bound_s)
    except AdminSilent:
        return
    if left:
        say(f"{left} requests were still under way after {bound_s:g} s and are cut")
