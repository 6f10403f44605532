"""uvicorn servers that live inside another program's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn


class EmbeddedServer(uvicorn.Server):
    """A uvicorn server that leaves signals to the program it is part of."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handler."""
        yield


def embedded(app: Any, *, log_level: str = "warning") -> EmbeddedServer:
    """Return a server for an ASGI app, for `run`."""
    config = uvicorn.Config(
        app,
        log_level=log_level,
        access_log=False,
        lifespan="off",
        # Any program on this machine could forge X-Forwarded-For, and the audit shows the address.
        proxy_headers=False,
        timeout_keep_alive=75,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=2,
    )
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
