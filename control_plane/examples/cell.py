"""An example cell: a small real HTTP server that says who it is and what it was asked."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

Message = MutableMapping[str, Any]


def cell_app(
    name: str,
) -> Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]:
    """The ASGI app of a cell with this name."""

    async def app(
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            raise ValueError(f"{scope['type']} is not served here")
        size = 0
        while True:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body", False):
                break
        query: bytes = scope["query_string"]
        path: bytes = scope["raw_path"] + (b"?" + query if query else b"")
        body = json.dumps(
            {
                "cell": name,
                "method": scope["method"],
                "path": path.decode("latin-1"),
                "headers": [
                    [n.decode("latin-1"), v.decode("latin-1")] for n, v in scope["headers"]
                ],
                "body_bytes": size,
            }
        ).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-example-cell", name.encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


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
    asyncio.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main()
