"""Accepts the classifier's connections, within the limits, and goes on when descriptors run out.

asyncio's own servers accept whatever comes before any limit of ours is asked. When the process has
no file descriptor left, uvloop's closes its listening socket for good. So this accepts by itself:
few connections at a time, between which questions are answered; and without descriptors, it closes
strangers and tries again a little later.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable

from control_plane.classifier.connections import Connection, Connections, Peer
from control_plane.classifier.log_pause import LogPause

log = logging.getLogger(__name__)
MAX_AT_ONCE = 32
"""How many connections are accepted before other work has its turn."""
PAUSE_S = 0.1
"""How long nothing is accepted when descriptors have run out."""
FREED_AT_ONCE = 64
HANDSHAKE_S = 5.0
"""How long a TLS handshake may take."""
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Accepting:
    """Accepts the connections of one listening socket."""

    def __init__(
        self,
        sock: socket.socket,
        connections: Connections,
        make: Callable[[Peer, socket.socket], Connection],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Accept nothing yet.

        Args:
            sock: Listens.
            connections: Says whether there is room.
            make: Makes the protocol of a peer's connection, with the socket of it.
            tls: The server's side of TLS; None for plaintext.
        """
        self._sock = sock
        self._connections = connections
        self._make = make
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._paused: asyncio.TimerHandle | None = None
        self._log_pause = LogPause()
        sock.setblocking(False)

    def start(self) -> None:
        """Accept from now on."""
        self._paused = None
        self._loop.add_reader(self._sock, self._accept_some)

    def stop(self) -> None:
        """Accept no more, and close the socket."""
        self._loop.remove_reader(self._sock)
        if self._paused is not None:
            self._paused.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        self._sock.close()

    def _accept_some(self) -> None:
        for _ in range(MAX_AT_ONCE):
            try:
                client, address = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._pause(error)
                    return
                continue  # The client has gone again.
            self._take(client, address)

    def _pause(self, error: OSError) -> None:
        left_out = self._log_pause.left_out()
        if left_out is not None:
            text = "no connection can be accepted: %s; strangers are closed (%d more times since)"
            log.error(text, error.strerror, left_out)
        self._loop.remove_reader(self._sock)
        self._connections.free_some(FREED_AT_ONCE)
        self._paused = self._loop.call_later(PAUSE_S, self.start)

    def _take(self, client: socket.socket, address: object) -> None:
        peer = self._connections.peer(_host(address))
        if peer is None:
            client.close()
            return
        client.setblocking(False)
        if client.family is not socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        protocol = self._make(peer, client)
        self._connections.opened(protocol, peer)
        task = self._loop.create_task(self._connect(client, protocol))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, client: socket.socket, protocol: Connection) -> None:
        timeout = None if self._tls is None else HANDSHAKE_S
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol, client, ssl=self._tls, ssl_handshake_timeout=timeout
            )
        except OSError as error:
            log.debug("a connection has failed: %s", error)
            self._connections.closed(protocol)
            client.close()


def _host(address: object) -> str:
    """Return the IP address of what `accept` returned; empty for a Unix socket."""
    return str(address[0]) if isinstance(address, tuple) else ""
