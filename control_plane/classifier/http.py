"""ext_authz over HTTP: straight on httptools and the event loop, because this is the hot path.

Envoy sends the client's method, path and the headers that the ruleset uses. The answer is always
200 (204 to the edge's cache) with the decision in headers. Any other status means that the
classifier could not decide. An ASGI server costs more than the decision itself (see
`bench/classifier.py`).
"""

from __future__ import annotations

import asyncio
import socket

from control_plane.classifier.answerer import Answerer
from control_plane.classifier.cache.tiered import CachedLookup
from control_plane.classifier.decide import Decider
from control_plane.classifier.http_connection import HttpConnection, OpenConnections
from control_plane.classifier.metrics import DecisionObserver

_SWEEP_S = 10.0
"""How often connections are looked through for idle ones."""


class ClassifierServer:
    """Answers questions on a listening socket."""

    def __init__(
        self, decider: Decider, observer: DecisionObserver, lookup: CachedLookup | None = None
    ) -> None:
        """With ``lookup``, nothing blocks; without, ``decider`` looks claims up itself."""
        self._answerer = Answerer(decider, observer, lookup)
        self._open = OpenConnections()

    async def run(self, sock: socket.socket) -> None:
        """Serve until cancelled. Then send what is answered, and close all connections."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: HttpConnection(self._answerer, self._open), sock=sock
        )
        try:
            while True:
                await asyncio.sleep(_SWEEP_S)
                for connection in tuple(self._open.connections):
                    connection.close_if_idle(_SWEEP_S)
        finally:
            server.close()
            for task in tuple(self._open.tasks):
                task.cancel()
            for connection in tuple(self._open.connections):
                connection.close()
