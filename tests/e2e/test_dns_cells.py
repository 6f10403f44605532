"""Cells at DNS names: dead addresses, records that change, name servers that do not answer."""

from __future__ import annotations

import itertools
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cell_server import HEALTH_PATH, NAME_HEADER, CellServer
from tests.e2e.dns_server import AAAA, DnsServer
from tests.e2e.load import Answer, Load, get
from tests.support.conditions import wait_until
from tests.support.raw_http import exchange, request_bytes
from tests.support.system import System

GIVEN_UP_S = 3.0
"""How long a name without an answer keeps others waiting: two questions, of 1 s and of 2 s."""
REST_S = 7.0
"""How long all the rest may take on a busy machine."""
HOST = b"gitlab.example.com"
LARGE = 300_000
_NUMBERS = itertools.count(1)
PROBED = {"health_check_path": HEALTH_PATH}
BOTH = ("::1", "127.0.0.1")


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, dns: DnsServer) -> Iterator[System]:
    directory: Path = tmp_path_factory.mktemp("system")
    resolvers = (dns.address,)
    with System(directory, cells=0, edge_dns_resolvers=resolvers) as running:
        running.use_ruleset("session_prefix")
        yield running


@pytest.fixture
def cell() -> str:
    """The name of a cell that no other test has used."""
    return f"cell-{next(_NUMBERS)}"


def session(cell: str) -> bytes:
    return b"_gitlab_session=%s-a" % cell.encode()


def ask(system: System, cell: str) -> tuple[int, str]:
    answer = exchange(("127.0.0.1", system.edge_port), get(b"/x", session(cell)))
    assert answer is not None
    return answer.status, (answer.header(NAME_HEADER) or b"").decode()


def upload(system: System, cell: str) -> int:
    """Send a body that is too large to be sent a second time; return the status."""
    headers = [("cookie", session(cell)), ("content-length", str(LARGE).encode())]
    request = request_bytes(b"/x", headers, method="POST", host=HOST) + b"x" * LARGE
    answer = exchange(("127.0.0.1", system.edge_port), request)
    assert answer is not None
    return answer.status


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def add(system: System, cell: str, name: str, server: CellServer, **more: Any) -> None:
    system.add_cell(cell, 0, endpoints=[f"{name}:{server.port}"], **more)


@pytest.mark.parametrize("more", [{}, PROBED], ids=["unprobed", "probed"])
@pytest.mark.parametrize("name", ["dual.test", "localhost"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_name_with_a_dead_address_serves_every_request(
    system: System, dns: DnsServer, cell: str, host: str, name: str, more: dict[str, Any]
) -> None:
    dns.records["dual.test"] = BOTH
    with CellServer("one", host) as server:
        add(system, cell, name, server, **more)
        assert {ask(system, cell) for _ in range(40)} == {(200, "one")}
        assert {upload(system, cell) for _ in range(5)} == {200}


def test_a_server_that_answers_for_one_family_only_costs_no_more_than_time(
    system: System, dns: DnsServer, cell: str
) -> None:
    dns.records["mute.test"] = ("127.0.0.1",)
    dns.silent.add(("mute.test", AAAA))
    with CellServer("one") as server:
        add(system, cell, "mute.test", server)
        assert ask(system, cell) == (200, "one")


def test_a_name_whose_addresses_are_all_dead_gets_503_until_one_is_alive(
    system: System, dns: DnsServer, cell: str
) -> None:
    dns.records["dual.test"] = BOTH
    with CellServer("gone") as server:
        port = server.port
    system.add_cell(cell, 0, endpoints=[f"dual.test:{port}"])
    assert ask(system, cell)[0] == 503
    with CellServer("back", port=port):
        wait_until(lambda: ask(system, cell) == (200, "back"))


def test_records_that_moved_take_the_traffic_with_them(
    system: System, dns: DnsServer, cell: str
) -> None:
    """The old endpoint lives on and is healthy. A third cell's name has no records at first."""
    probed, late = f"{cell}1", f"{cell}2"
    requests = {name: get(b"/x", session(name)) for name in (cell, probed)}
    dns.records["moved.test"] = ("127.0.0.1",)
    with CellServer("old") as old, CellServer("new", "::1", old.port):
        add(system, cell, "moved.test", old)
        add(system, probed, "moved.test", old, **PROBED)
        add(system, late, "late.test", old)
        assert ask(system, late)[0] == 503
        with Load(system.edge_port, requests, cell_header=NAME_HEADER) as load:
            load.go_on(20)
            dns.records |= {"moved.test": ("::1",), "late.test": ("::1",)}
            wait_until(lambda: {ask(system, name) for name in (*requests, late)} == {(200, "new")})
            before = load.take_earlier()
            load.go_on(60)
            assert load.take().keys() == {Answer(name, 200, "new") for name in requests}
        lost = Counter[str]()
        for answer, count in before.items():
            lost[answer.asked] += count if answer.status != 200 else 0
        assert lost[cell] == 0, before
        # A probed cell's new address serves when its first probe is answered, not before.
        assert lost[probed] < 20, before
        wait_until(lambda: not old.connections)


def test_a_name_without_an_answer_holds_up_nobody_for_long(
    system: System, dns: DnsServer, cell: str
) -> None:
    dns.silent.add("dead.test")
    with CellServer("one") as server:
        dead = {"name": "dead", "address": "dead.test", "endpoints": ["dead.test:1"]}
        system.write("POST", "/v1/cells", dead | {"state": "active"})
        began = time.monotonic()
        system.add_cell(cell, server.port)
        assert time.monotonic() - began < GIVEN_UP_S + REST_S
        assert ask(system, cell) == (200, "one")
        # From now on nobody waits for that name.
        began = time.monotonic()
        system.add_cell(f"{cell}1", server.port)
        assert time.monotonic() - began < GIVEN_UP_S - 0.5
        began = time.monotonic()
        system.restart_envoy()
        system.in_step()
        wait_until(lambda: listens(system.edge_port))
        assert ask(system, cell) == (200, "one")
        assert time.monotonic() - began < GIVEN_UP_S + REST_S
