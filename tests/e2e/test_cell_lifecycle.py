"""Cells come, are drained and go under load: no request is lost, and shares come out as set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cell_server import NAME_HEADER, CellServer
from tests.e2e.load import Load, get
from tests.support.conditions import wait_until
from tests.support.envoy_admin import sync_client
from tests.support.raw_http import RawConnection
from tests.support.system import System

WAIT = "?wait=fleet&timeout=20s"
ANYWHERE: dict[str, Any] = {
    "name": "anywhere",
    "rules": [
        {
            "id": "session",
            "match": {"type": "cookie", "name": "^s$", "regexValue": "^(?<p>.+)$"},
            "action": "classify",
            "classify": {"type": "SESSION_PREFIX", "value": "${p}"},
        },
        {"id": "any", "action": "proxy", "proxy": {"weighted": True}},
    ],
}
REQUESTS = 10_000
USUAL = 10
"""The usual part of the cell north, in percent. Envoy draws each request's cell by itself: of so many
requests, 0.3 points are the standard deviation here."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), cells=0) as running:
        yield running


@pytest.fixture(scope="module")
def servers(system: System) -> Iterator[dict[str, CellServer]]:
    with CellServer("north") as north, CellServer("south") as south:
        for server, weight in ((north, 10), (south, 90)):
            system.add_cell(server.name, server.port, weight=weight)
        system.use_ruleset(ANYWHERE)
        yield {"north": north, "south": south}


def drain(system: System, **more: Any) -> dict[str, Any]:
    body = {
        "cell": "north", "target_share": 99, "step": 1, "interval_s": 1, "reason": "test",
        "expires_in_s": 600,
    }  # fmt: skip
    started = system.write("POST", "/v1/drains", body | more)["drain"]
    path = f"/v1/drains/{started['id']}"
    wait_until(lambda: system.api.get(path).json()["state"] == "holding")
    system.in_step()
    return dict(system.api.get(path).json())


def served_by(system: System, number: int) -> Counter[str]:
    """Return which cells answered so many requests on one kept-alive connection."""
    cells: Counter[str] = Counter()
    with RawConnection(("127.0.0.1", system.edge_port)) as client:
        for _ in range(number):
            client.send(get(b"/x"))
            answer = client.read_response()
            assert answer is not None
            assert answer.status == 200
            cells[(answer.header(NAME_HEADER) or b"").decode()] += 1
    return cells


@pytest.mark.usefixtures("servers")
def test_a_step_of_one_percent_comes_out_within_a_point(system: System) -> None:
    for target, step in ((99, 1), (40, 60)):
        held = drain(system, target_share=target, step=step)
        part = 100 * served_by(system, REQUESTS)["north"] / REQUESTS
        assert part == pytest.approx(USUAL * target / 100, abs=1.0)
        text = system.api.get("/metrics").text
        assert f'cellway_drain_share{{cell="north"}} {float(target)}' in text
        system.write("POST", f"/v1/drains/{held['id']}/abort{WAIT}")


@pytest.mark.usefixtures("servers")
def test_tenants_of_a_drained_cell_stay_with_it(system: System) -> None:
    held = drain(system, target_share=0, step=100)
    assert served_by(system, 200).keys() == {"south"}
    owned = {"north": get(b"/x", b"s=north"), "free": get(b"/x")}
    with Load(system.edge_port, owned, cell_header=NAME_HEADER) as load:
        load.go_on(100)
        assert {(one.asked, one.status, one.cell) for one in load.take()} == {
            ("north", 200, "north"),
            ("free", 200, "south"),
        }
        system.write("POST", f"/v1/drains/{held['id']}/abort{WAIT}")
        load.go_on(100)
        assert {one.status for one in load.take()} == {200}


@pytest.mark.usefixtures("servers")
def test_a_cell_comes_and_goes_under_load_without_one_error(system: System) -> None:
    everywhere = {"free": get(b"/x")}
    match = {"if-match": "*"}
    with (
        CellServer("east") as east,
        Load(system.edge_port, everywhere, threads=4, cell_header=NAME_HEADER) as load,
    ):
        for _ in range(3):
            load.go_on(50)
            system.add_cell("east", east.port, state="provisioning")
            system.write("PATCH", f"/v1/cells/east{WAIT}", {"state": "active"}, **match)
            load.take_earlier()
            load.go_on(150)
            assert "east" in {one.cell for one in load.seen()}
            for state in ("draining", "drained", "retired"):
                system.write("PATCH", f"/v1/cells/east{WAIT}", {"state": state}, **match)
            load.take_earlier()
            system.write("DELETE", f"/v1/cells/east{WAIT}", **match)
            load.go_on(50)
            answers = load.take()
            assert {one.status for one in answers} == {200}, answers
            assert {one.cell for one in answers} == {"north", "south"}
        # The answers between the checks are counted by the edge itself.
        with sync_client(system.admin) as admin:
            stats = admin.get("/stats?filter=downstream_rq_5xx&format=json").json()["stats"]
        assert sum(one["value"] for one in stats if "name" in one) == 0, stats
