"""A server inside a program ends when the program says so, and answers what has begun."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from control_plane.process.embedded_server import embedded, run
from control_plane.process.listening import bind, port_of


async def test_a_request_that_has_begun_is_answered_though_the_server_is_cancelled() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        begun.set()
        await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    sock = bind("127.0.0.1", 0)
    serving = asyncio.create_task(run(embedded(app), sock))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port_of(sock)}") as client:
        asking = asyncio.create_task(client.get("/"))
        await begun.wait()
        serving.cancel()
        await asyncio.sleep(0)
        go_on.set()
        answer = await asking
        assert (answer.text, answer.headers["server"]) == ("done", "cellway")
    with pytest.raises(asyncio.CancelledError):
        await serving
