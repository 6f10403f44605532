"""Probes of cells, in clear and over TLS, and what can happen while they are under way."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.jobs.cell_health import FAILURES_TO_DOWN, HealthMonitor
from control_plane.topology import Topology
from control_plane.topology.values.cell import CellTLS
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.errors import DatabaseFailed, Unavailable
from tests.jobs.certificates import NAME, certificate
from tests.support.conditions import until
from tests.support.plane import add_cell


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    made = Topology.open(f"sqlite:///{tmp_path}/h.db")
    yield made
    made.close()


@contextlib.asynccontextmanager
async def cell(status: int = 200, tls: tuple[Path, Path] | None = None) -> AsyncIterator[Endpoint]:
    """A cell that answers every request with a status."""
    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def health_of(topology: Topology, *endpoints: tuple[Endpoint, CellTLS | None]) -> list[bool]:
    """Whether cells with these endpoints are up after enough rounds; two good ones join them."""
    async with cell() as good:
        for number, (endpoint, tls) in enumerate(endpoints):
            probed: dict[str, Any] = {"endpoints": (endpoint,), "tls": tls}
            add_cell(topology, f"cell-{number}", health_check_path="/ok", **probed)
        for name in ("good-1", "good-2"):
            add_cell(topology, name, health_check_path="/ok", endpoints=(good,))
        monitor = HealthMonitor(topology, 1)
        for _ in range(FAILURES_TO_DOWN):
            await monitor.round()
    return [topology.cells.get(f"cell-{number}").healthy for number in range(len(endpoints))]


@pytest.mark.parametrize(("status", "up"), [(200, True), (204, True), (500, False), (302, False)])
async def test_a_cell_is_up_if_it_answers_2xx(topology: Topology, status: int, up: bool) -> None:
    async with cell(status) as endpoint:
        assert await health_of(topology, (endpoint, None)) == [up]


async def test_a_tls_cell_is_probed_with_its_ca_and_server_name(
    topology: Topology, tmp_path: Path
) -> None:
    pair = certificate(tmp_path)
    async with cell(tls=pair) as endpoint:
        tls = CellTLS(server_name=NAME, ca_file=str(pair[0]))
        assert await health_of(topology, (endpoint, tls)) == [True]


@pytest.mark.parametrize("wrong", ["name", "ca", "no ca file", "in clear"])
async def test_a_tls_cell_that_envoy_would_not_trust_is_down(
    topology: Topology, tmp_path: Path, wrong: str
) -> None:
    pair = certificate(tmp_path)
    other = certificate(tmp_path, "other.example")
    tls = {
        "name": CellTLS(server_name="wrong.example", ca_file=str(pair[0])),
        "ca": CellTLS(server_name=NAME, ca_file=str(other[0])),
        "no ca file": CellTLS(server_name=NAME, ca_file=str(tmp_path / "nowhere.pem")),
        "in clear": CellTLS(server_name=NAME, ca_file=str(pair[0])),
    }[wrong]
    async with cell(tls=None if wrong == "in clear" else pair) as endpoint:
        assert await health_of(topology, (endpoint, tls)) == [False]


async def test_a_renewed_ca_file_is_read_again(topology: Topology, tmp_path: Path) -> None:
    pair = certificate(tmp_path)
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(certificate(tmp_path, "other.example")[0].read_bytes())
    async with cell(tls=pair) as endpoint, cell() as good:
        tls = CellTLS(server_name=NAME, ca_file=str(ca_file))
        add_cell(topology, "cell-0", health_check_path="/ok", endpoints=(endpoint,), tls=tls)
        add_cell(topology, "good", health_check_path="/ok", endpoints=(good,))
        monitor = HealthMonitor(topology, 1)
        for _ in range(FAILURES_TO_DOWN):
            await monitor.round()
        assert topology.cells.get("cell-0").healthy is False
        ca_file.write_bytes(pair[0].read_bytes())
        await monitor.round()
        assert topology.cells.get("cell-0").healthy is True


async def test_a_name_that_only_the_edges_dns_servers_know_is_no_reason_to_take_a_cell_down(
    topology: Topology,
) -> None:
    async with cell() as good:
        here = Endpoint("cell.elsewhere.invalid", good.port)
        add_cell(topology, "cell-0", health_check_path="/ok", endpoints=(here,))
        add_cell(topology, "good", health_check_path="/ok", endpoints=(good,))
        healthy = []
        for names in (True, False):
            monitor = HealthMonitor(topology, 1, names=names)
            for _ in range(FAILURES_TO_DOWN):
                await monitor.round()
            healthy.append(topology.cells.get("cell-0").healthy)
    assert healthy == [False, True]


async def test_more_than_half_down_is_not_believed(
    topology: Topology, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b", "c"):
        add_cell(topology, name, health_check_path="/ok", endpoints=(Endpoint("127.0.0.1", 1),))
    monitor = HealthMonitor(topology, 1)
    for _ in range(FAILURES_TO_DOWN + 2):
        await monitor.round()
    assert all(one.healthy for one in topology.cells.all())
    assert [one.getMessage() for one in caplog.records] == [
        "3 of 3 cells don't answer: not believed"
    ], "it is said once and not each round"


async def test_a_round_that_fails_does_not_end_the_probing(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = 0

    # A database that goes away at that moment can't be had otherwise.
    def cells() -> tuple[Any, ...]:
        nonlocal rounds
        rounds += 1
        if rounds < 3:
            raise Unavailable("gone")
        return ()

    monkeypatch.setattr(topology.cells, "all", cells)
    task = asyncio.create_task(HealthMonitor(topology, 0.01).run())
    await until(lambda: rounds > 4)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_statement_that_the_database_refuses_is_left_to_the_supervisor(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cells() -> tuple[Any, ...]:
        raise DatabaseFailed("the disk is full")

    monkeypatch.setattr(topology.cells, "all", cells)
    with pytest.raises(DatabaseFailed):
        await asyncio.wait_for(HealthMonitor(topology, 0.01).run(), 10)
