"""What counts as an answer to a probe."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from control_plane.jobs import cell_probe
from control_plane.jobs.cell_probe import CellProbe
from control_plane.topology import Topology
from control_plane.topology.values.cell import Cell, CellState, CellTLS
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.endpoint_policy import EndpointPolicy, networks
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
        (b"a" * 200_000, False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n" + b"a" * 1_000_000, False),
        (b"", False),
    ],
)
async def test_a_whole_answer_of_2xx_counts(tmp_path: Path, reply: bytes, up: bool) -> None:
    assert await answers(tmp_path, reply) is up


async def test_one_endpoint_is_enough(tmp_path: Path) -> None:
    assert await answers(tmp_path, b"", b"HTTP/1.1 204 X\r\n\r\n")


CELL = Cell(
    id=1,
    name="cell-1",
    address="cell-1.example",
    endpoints=(Endpoint("127.0.0.1", 1),),
    tls=None,
    health_check_path="/ok",
    session_prefix=None,
    sequence_ranges=(),
    labels={},
    state=CellState.ACTIVE,
    weight=100,
    healthy=True,
    version=1,
)


@pytest.mark.parametrize(
    "nonsense",
    [
        {"endpoints": (Endpoint("a" * 100, 80),)},
        {"endpoints": (Endpoint(".x", 80),)},
        {"endpoints": (Endpoint("127.0.0.1\0", 80),)},
        {"endpoints": (Endpoint("127.0.0.1", 70_000),)},
        {"endpoints": (Endpoint("", 0),)},
        {"tls": CellTLS(server_name=".x")},
        {"tls": CellTLS(server_name="a" * 100)},
        {"tls": CellTLS(ca_file="/a\0b")},
        {"tls": CellTLS(ca_file="a" * 5000)},
        {"tls": CellTLS(ca_file="/dev/zero")},
        {"tls": CellTLS(ca_file="\ud800")},
        {"health_check_path": "/\r\n"},
        {"address": "a\r\nb"},
    ],
)
async def test_a_cell_that_can_t_be_probed_is_down(nonsense: dict[str, Any]) -> None:
    """No such cell is stored today, but what is declared was not always checked."""
    assert await CellProbe().is_up(replace(CELL, **nonsense)) is False


async def test_an_exception_that_nobody_foresaw_is_one_cell_s_result_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    probe, cell = CellProbe(), replace(CELL, endpoints=cast("Any", (None,)))
    assert [await probe.is_up(cell) for _ in range(3)] == [False] * 3
    (record,) = caplog.records
    assert "can't be probed" in record.getMessage()


async def test_a_fifo_as_file_of_authorities_holds_up_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    cell = replace(CELL, tls=CellTLS(ca_file=str(tmp_path / "fifo")))
    async with asyncio.timeout(10):
        assert await CellProbe().is_up(cell) is False


async def test_what_an_endpoint_sends_is_logged_cut_and_in_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(*_: object) -> None:
        raise ssl.SSLError("a\n\x1b[31m" + "b" * 100_000)

    monkeypatch.setattr(cell_probe, "connect", connect)
    await CellProbe().is_up(CELL)
    (record,) = caplog.records
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 5 * cell_probe.MAX_TEXT


async def test_a_name_that_resolves_to_a_denied_address_is_not_connected_to(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """``localhost`` stands for any name whose owner points it at what is not his."""
    connections = 0

    def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    async with await asyncio.start_server(count, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        cell = replace(CELL, endpoints=(Endpoint("localhost", port),))
        denying = CellProbe(EndpointPolicy(denied=networks(["127.0.0.0/8", "::1/128"])))
        assert await denying.is_up(cell) is False
        assert connections == 0
        await CellProbe().is_up(cell)
        assert connections > 0
    assert "no cell may use" in caplog.text


async def test_silent_endpoints_are_asked_at_once() -> None:
    """One after another, they would take a second each."""
    with socket.create_server(("127.0.0.1", 0), backlog=300) as server:
        endpoint = Endpoint("127.0.0.1", server.getsockname()[1])
        silent = replace(CELL, endpoints=(endpoint,) * 200)
        started = asyncio.get_running_loop().time()
        assert await CellProbe().is_up(silent) is False
        assert asyncio.get_running_loop().time() - started < 60
