"""ext_authz over HTTP: straight on httptools and the event loop, because this is the hot path.

Envoy sends the client's method, path and the headers that the ruleset uses. The answer is always
200 (204 to the edge's cache) with the decision in headers. Any other status means that the
classifier could not decide, or that it was no edge that asked. An ASGI server costs more than the
decision itself (see `bench/classifier.py`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path

from control_plane.classifier.accepting import Accepting
from control_plane.classifier.answerer import Answerer
from control_plane.classifier.authentication import Authentication
from control_plane.classifier.cache.tiered import CachedLookup
from control_plane.classifier.connections import Connections
from control_plane.classifier.decide import Decider
from control_plane.classifier.http_connection import HttpConnection, Port
from control_plane.classifier.metrics import DecisionObserver
from control_plane.classifier.options import PortOptions
from control_plane.process.descriptors import descriptors_for
from control_plane.process.server_tls import ServerTls

log = logging.getLogger(__name__)
SWEEP_S = 1.0
"""How often connections are looked through for those whose time is over."""
RESERVED = 256
"""File descriptors for everything but the connections."""
LEAST_CONNECTIONS = 16


class ClassifierServer:
    """Answers questions on a listening socket."""

    def __init__(
        self,
        decider: Decider,
        observer: DecisionObserver,
        authentication: Authentication,
        lookup: CachedLookup | None = None,
        options: PortOptions | None = None,
    ) -> None:
        """With ``lookup``, nothing blocks; without, ``decider`` looks claims up itself.

        Raises:
            OSError: the files of TLS can't be used.
        """
        options = options or PortOptions()
        self._tls = None
        if options.tls_certificate is not None and options.tls_key is not None:
            files = ServerTls(Path(options.tls_certificate), Path(options.tls_key))
            self._tls = files.context()
        self._authentication = authentication
        self.connections = Connections(
            observer,
            max_connections=_affordable(options.max_connections),
            max_peer_connections=options.max_peer_connections,
        )
        answerer = Answerer(decider, observer, lookup)
        self._port = Port(answerer, authentication, self.connections)

    async def run(self, sock: socket.socket) -> None:
        """Serve until cancelled. Then send what is answered, and close all connections."""
        accepting = Accepting(
            sock,
            self.connections,
            lambda peer, client: HttpConnection(self._port, peer, client),
            self._tls,
        )
        following = asyncio.create_task(
            self._authentication.follow(on_change=self.connections.distrust_all)
        )
        accepting.start()
        try:
            while True:
                await asyncio.sleep(SWEEP_S)
                self.connections.sweep(SWEEP_S)
        finally:
            following.cancel()
            accepting.stop()
            for task in tuple(self._port.tasks):
                task.cancel()
            self.connections.close_all()


def _affordable(wanted: int) -> int:
    """Return how many connections there may be, by the file descriptors of this process."""
    possible = max(LEAST_CONNECTIONS, descriptors_for(wanted + RESERVED) - RESERVED)
    if possible < wanted:
        text = "the classifier has room for %d connections, not %d: raise the limit of open files"
        log.warning(text, possible, wanted)
    return min(possible, wanted)
