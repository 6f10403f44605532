"""Endpoints change under load: no request is lost, and withdrawn endpoints get none."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.e2e.cell_server import HEALTH_PATH, NAME_HEADER, CellServer
from tests.e2e.dns_server import DnsServer
from tests.e2e.load import Answer, Load, get
from tests.support.conditions import wait_until
from tests.support.ports import unused_port
from tests.support.raw_http import RawConnection, exchange
from tests.support.system import System

SLOW_S = 1.5
_NUMBERS = itertools.count(1)
PROBED = {"health_check_path": HEALTH_PATH}


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with DnsServer() as server:
        server.records["quick.test"] = server.records["slow.test"] = ("127.0.0.1",)
        server.slow["slow.test"] = SLOW_S
        yield server


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, dns: DnsServer) -> Iterator[System]:
    with System(
        tmp_path_factory.mktemp("system"),
        cells=0,
        edge_dns_resolvers=(dns.address,),
    ) as running:
        yield running


@pytest.fixture
def cells() -> Iterator[tuple[CellServer, CellServer]]:
    """Two servers of a cell."""
    with CellServer("old") as old, CellServer("new") as new:
        yield old, new


@pytest.fixture
def cell(system: System) -> str:
    """The name of a cell that no other test has used."""
    system.use_ruleset("session_prefix")
    return f"cell-{next(_NUMBERS)}"


def patch(system: System, cell: str, **changes: Any) -> None:
    etag = system.api.get(f"/v1/cells/{cell}").headers["etag"]
    system.write("PATCH", f"/v1/cells/{cell}?wait=fleet&timeout=20s", changes, **{"if-match": etag})


def request(cell: str, path: bytes = b"/x") -> bytes:
    return get(path, b"_gitlab_session=%s-a" % cell.encode())


def ask(system: System, cell: str) -> tuple[int, str]:
    answer = exchange(("127.0.0.1", system.edge_port), request(cell))
    assert answer is not None
    return answer.status, (answer.header(NAME_HEADER) or b"").decode()


def load(system: System, *names: str) -> Load:
    requests = {name: request(name) for name in names}
    return Load(system.edge_port, requests, threads=4, cell_header=NAME_HEADER)


def is_left(server: CellServer) -> bool:
    return not server.connections


def at(server: CellServer, host: str = "127.0.0.1") -> list[str]:
    return [f"{host}:{server.port}"]


@pytest.mark.parametrize("more", [{}, PROBED], ids=["unprobed", "probed"])
def test_a_withdrawn_endpoint_gets_no_request_and_no_request_is_lost(
    system: System, cell: str, cells: tuple[CellServer, CellServer], more: dict[str, Any]
) -> None:
    old, new = cells
    system.add_cell(cell, old.port, **more)
    with load(system, cell) as steady:
        for withdrawn, successor in ((old, new), (new, old)) * 2:
            steady.go_on(40)
            patch(system, cell, endpoints=at(successor))
            before = steady.take_earlier()
            assert {one.status for one in before} == {200}, before
            steady.go_on(80)
            assert steady.take().keys() == {Answer(cell, 200, successor.name)}
            # Idle connections are closed, and so is the prober's.
            wait_until(partial(is_left, withdrawn))


def test_a_request_under_way_at_a_withdrawn_endpoint_is_answered(
    system: System, cell: str, cells: tuple[CellServer, CellServer]
) -> None:
    old, new = cells
    system.add_cell(cell, old.port)
    with RawConnection(("127.0.0.1", system.edge_port)) as client:
        client.send(request(cell, b"/wait"))
        assert old.waiting.wait(20)
        patch(system, cell, endpoints=at(new))
        assert ask(system, cell) == (200, "new")
        old.released.set()
        answer = client.read_response()
        assert answer is not None
        assert (answer.status, answer.header(NAME_HEADER)) == (200, b"old")
    wait_until(lambda: not old.connections)


@pytest.mark.parametrize("more", [{}, PROBED], ids=["unprobed", "probed"])
def test_endpoints_swapped_between_cells_leave_no_request_at_the_wrong_one(
    system: System, cell: str, cells: tuple[CellServer, CellServer], more: dict[str, Any]
) -> None:
    one, three = cells
    other = f"{cell}0"
    system.add_cell(cell, one.port, **more)
    system.add_cell(other, three.port, **more)
    with load(system, cell, other) as steady:
        for first, third in ((three, one), (one, three)):
            steady.go_on(40)
            swap(system, {cell: first, other: third})
            assert {answer.status for answer in steady.take_earlier()} == {200}
            steady.go_on(120)
            assert steady.take().keys() == {
                Answer(cell, 200, first.name),
                Answer(other, 200, third.name),
            }


def swap(system: System, servers: dict[str, CellServer]) -> None:
    """Give these endpoints to cells in one write."""
    topology = system.api.get("/v1/topology")
    cells = [
        one | {"endpoints": at(servers[one["name"]])}
        for one in topology.json()["cells"]
        if one["name"] in servers
    ]
    system.write(
        "PUT",
        "/v1/topology?wait=fleet&timeout=20s",
        {"cells": cells},
        **{"if-match": topology.headers["etag"]},
    )


@pytest.mark.parametrize(
    ("name", "more"),
    [("quick.test", {}), ("quick.test", PROBED), ("slow.test", PROBED)],
    ids=["quick", "quick-probed", "slow-probed"],
)
def test_between_ip_address_and_name_nothing_is_lost(
    system: System, cell: str, cells: tuple[CellServer, CellServer], name: str, more: dict[str, Any]
) -> None:
    old, new = cells
    system.add_cell(cell, old.port, **more)
    with load(system, cell) as steady:
        for host, server in ((name, new), ("127.0.0.1", old)):
            steady.go_on(30)
            patch(system, cell, endpoints=at(server, host))
            assert {answer.status for answer in steady.take_earlier()} == {200}
            steady.go_on(60)
            assert steady.take().keys() == {Answer(cell, 200, server.name)}


def test_to_a_name_and_back_before_it_resolves_nothing_is_lost(
    system: System, cell: str, cells: tuple[CellServer, CellServer]
) -> None:
    old, new = cells
    system.add_cell(cell, old.port)
    with load(system, cell) as steady:
        steady.go_on(30)
        there = threading.Thread(
            target=patch, args=(system, cell), kwargs={"endpoints": at(new, "slow.test")}
        )
        there.start()
        steady.go_on(60)
        patch(system, cell, endpoints=at(old))
        there.join()
        assert {answer.status for answer in steady.take_earlier()} == {200}
        steady.go_on(60)
        assert steady.take().keys() == {Answer(cell, 200, "old")}


def test_a_cell_that_comes_up_after_it_was_registered_is_served_within_seconds(
    system: System, cell: str, cells: tuple[CellServer, CellServer]
) -> None:
    port = unused_port()
    system.add_cell(cell, port, **PROBED)
    assert ask(system, cell)[0] == 503
    with CellServer("late", port=port):
        began = time.monotonic()
        wait_until(lambda: ask(system, cell) == (200, "late"))
        assert time.monotonic() - began < 10
