"""What counts as an answer to a probe."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from control_plane.jobs.cell_probe import CellProbe
from control_plane.topology import Topology
from control_plane.topology.values.endpoint import Endpoint
from tests.support.plane import add_cell


async def answers(tmp_path: Path, *replies: bytes) -> bool:
    """Whether a cell is up whose endpoints send these bytes, one reply each."""
    async with contextlib.AsyncExitStack() as stack:
        endpoints = []
        for reply in replies:

            async def serve(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reply: bytes = reply
            ) -> None:
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(reply)
                    await writer.drain()
                writer.close()

            server = await stack.enter_async_context(await asyncio.start_server(serve, "127.0.0.1"))
            endpoints.append(Endpoint("127.0.0.1", server.sockets[0].getsockname()[1]))
        topology = Topology.open(f"sqlite:///{tmp_path}/p.db")
        stack.callback(topology.close)
        add_cell(topology, "a", health_check_path="/ok", endpoints=tuple(endpoints))
        return await CellProbe().is_up(topology.cells.get("a"))


@pytest.mark.parametrize(
    ("reply", "up"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 103 X\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no", False),
        (b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n", False),
        (b"no http", False),
        (b"", False),
    ],
)
async def test_a_whole_answer_of_2xx_counts(tmp_path: Path, reply: bytes, up: bool) -> None:
    assert await answers(tmp_path, reply) is up


async def test_one_endpoint_is_enough(tmp_path: Path) -> None:
    assert await answers(tmp_path, b"", b"HTTP/1.1 204 X\r\n\r\n")
