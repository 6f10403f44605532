"""uvicorn servers that live inside another program's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn

from control_plane.process.bounded_http import BoundedHttp
from control_plane.process.http_faults import PRODUCT
from control_plane.process.http_limits import HttpLimits, OpenConnections


class EmbeddedServer(uvicorn.Server):
    """A uvicorn server that leaves signals to the program it is part of."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handler."""
        yield


def embedded(
    app: Any,
    *,
    connections: OpenConnections | None = None,
    tls: ssl.SSLContext | None = None,
    log_level: str = "warning",
) -> EmbeddedServer:
    """Return a server for an ASGI app, for `run`.

    Args:
        app: The app. It is never asked about WebSockets.
        connections: Counts and bounds its connections; by default with `HttpLimits` of their own.
        tls: None for plaintext.
        log_level: Of uvicorn's own log.
    """
    if connections is None:
        connections = OpenConnections(HttpLimits(), lambda _: None)
    protocol: Any = functools.partial(BoundedHttp, connections)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        log_level=log_level,
        access_log=False,
        lifespan="off",
        # Any program on this machine could forge X-Forwarded-For, and the audit shows the address.
        proxy_headers=False,
        timeout_keep_alive=connections.limits.idle_s,
        server_header=False,
        # It tells people whose port this is. Programs can't rely on it: proxies replace it.
        headers=[("server", PRODUCT)],
        date_header=False,
        timeout_graceful_shutdown=2,
    )
    config.load()
    config.ssl = tls
    return EmbeddedServer(config)


async def run(server: EmbeddedServer, sock: socket.socket) -> None:
    """Serve on a listening socket until cancelled, then finish the requests that have begun."""
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        server.should_exit = True
        await task
        raise
