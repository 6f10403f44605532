"""An example cell: a small real HTTP server that says who it is and what it was asked."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
"""An ASGI application."""


def cell_app(name: str) -> App:
    """Return the ASGI app of a cell with this name."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"{scope['type']} is not served here")
        body = _answer(name, scope, await _size(receive))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-example-cell", name.encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


async def _size(receive: Receive) -> int:
    """Read a request's body; return its length in bytes."""
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            return size


def _answer(name: str, scope: Message, size: int) -> bytes:
    """Return the JSON that says who answers, and what it was asked."""
    query: bytes = scope["query_string"]
    path: bytes = scope["raw_path"] + (b"?" + query if query else b"")
    headers = [[key.decode("latin-1"), value.decode("latin-1")] for key, value in scope["headers"]]
    answer = {
        "cell": name,
        "method": scope["method"],
        "path": path.decode("latin-1"),
        "headers": headers,
        "body_bytes": size,
    }
    return json.dumps(answer).encode()


def main() -> None:
    """``python -m control_plane.example_cell --name NAME --port N``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    config = uvicorn.Config(
        cell_app(options.name),
        host=options.host,
        port=options.port,
        log_level="warning",
        lifespan="off",
        timeout_keep_alive=60,
    )
    # uvicorn ends what is under way at Ctrl-C, and then passes it on.
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main()
