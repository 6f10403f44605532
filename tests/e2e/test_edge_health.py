"""Cells are up or down as the real Envoy reports; if none reports, as our own probe finds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from control_plane.cli.local.system import LOCAL_NODE, everything
from control_plane.compiler import clusters
from control_plane.compiler.bootstrap import FleetMember, compile_bootstrap
from control_plane.edge_agent.agent import reporting_to
from control_plane.process.unix_socket import socket_in
from control_plane.settings import Settings
from tests.e2e.picky_cell import ENVOY, OURS, PickyCell
from tests.support.agent_process import AgentProcess
from tests.support.conditions import until, wait_until
from tests.support.envoy_process import EnvoyProcess
from tests.support.ports import unused_port
from tests.support.raw_client import RawClient
from tests.support.system import System, reconnecting_soon

RULESET = {
    "name": "by-session",
    "rules": [
        {
            "id": "session",
            "match": {"type": "cookie", "name": "^s$", "regexValue": "^(?<prefix>[a-z]+)-"},
            "action": "classify",
            "classify": {"type": "SESSION_PREFIX", "value": "${prefix}"},
            "on_unknown": 404,
            "on_cell_down": 502,
        }
    ],
}


class Reporting:
    """A reporter in the system's loop, like that of `cellway up`; it may begin and end again."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._ending: asyncio.Event
        self._task: asyncio.Task[None]

    def begin(self) -> None:
        async def begin() -> None:
            self._ending = asyncio.Event()
            begun = asyncio.Event()
            self._task = asyncio.create_task(self._run(begun))
            await begun.wait()

        self._system.call(begin)

    async def _run(self, begun: asyncio.Event) -> None:
        xds = f"127.0.0.1:{self._system.plane.ports.grpc}"
        async with reporting_to(xds, self._system.admin):
            begun.set()
            await self._ending.wait()

    def end(self) -> None:
        async def end() -> None:
            self._ending.set()
            await self._task

        self._system.call(end)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Envoy check each endpoint several times a second, with or without traffic."""
    compiled = clusters._health_check

    def quickly(policy: Any) -> Any:
        check = compiled(replace(policy, health_check_interval_s=0.2))
        check.no_traffic_interval.FromMilliseconds(200)
        check.no_traffic_healthy_interval.FromMilliseconds(200)
        return check

    monkeypatch.setattr(clusters, "_health_check", quickly)


@pytest.fixture
def system(tmp_path: Path, quick: None) -> Iterator[System]:
    with System(tmp_path, cells=0, health_interval_s=0.2) as system:
        system.use_ruleset(RULESET)
        system.call(lambda: _short_grace(system))
        yield system


async def _short_grace(system: System) -> None:
    system.plane.edges._grace_s = 1.0


def add(system: System, *cells: PickyCell) -> None:
    for cell in cells:
        system.add_cell(cell.name, cell.port, health_check_path="/-/health")


def up(system: System) -> set[str]:
    return {cell.name for cell in system.plane.topology.cells.all() if cell.healthy}


def by_edges(system: System, cells: int) -> None:
    """Wait until the edges decide about so many cells."""
    wait_until(lambda: len(system.plane.topology.edge_health.verdicts()) == cells)


def answered(system: System, cell: str) -> int:
    """Return the status that Envoy answers for a cell."""
    with RawClient(system.edge_port) as client:
        return client.ask(b"/x", [("cookie", f"s={cell}-1".encode())])[0]


def explained(system: System, cell: str) -> int:
    """Return the status that the evaluator gives for a cell."""
    request = {"url": "https://x.example/x", "headers": [["cookie", f"s={cell}-1"]]}
    outcome = system.write("POST", "/v1/explain", request)["outcome"]
    return 200 if "cell" in outcome else int(outcome["status"])


def actor_of_last_change(system: System) -> str:
    return str(system.plane.topology.changes.since(system.plane.topology.revision() - 1)[-1].actor)


def status(system: System) -> str:
    """Return what `cellway fleet status` prints."""
    command = [sys.executable, "-m", "control_plane.cli.main"]
    command += ["--server", str(system.api.base_url), "fleet", "status"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stderr


def decided(system: System, cell: str, status: int) -> None:
    wait_until(lambda: explained(system, cell) == status)
    wait_until(lambda: answered(system, cell) == status)


def test_a_dead_cell_gets_what_the_ruleset_says_and_one_that_comes_up_is_used(
    system: System,
) -> None:
    reporting = Reporting(system)
    reporting.begin()
    with ExitStack() as stack:
        dying = stack.enter_context(ExitStack())
        mortal = PickyCell("a")
        dying.enter_context(mortal)
        add(system, mortal, stack.enter_context(PickyCell("b")))
        decided(system, "a", 200)
        by_edges(system, 2)
        dying.close()
        decided(system, "a", 502)
        assert actor_of_last_change(system) == "edges"
        (seen, _) = system.api.get("/v1/fleet").json()["cells"]
        assert seen == {"cell": "a", "edges_up": 0, "edges_down": 1, "healthy": 0, "total": 1}
        assert 'cellway_cell_edges{cell="a",holds="down"} 1.0' in system.api.get("/metrics").text
        assert "a: 1 of 1 nodes that report hold no endpoint healthy (0 of 1" in status(system)
        # The new endpoint is registered before it is up.
        again = PickyCell("a")
        moved = {"endpoints": [f"127.0.0.1:{again.port}"]}
        system.write("PATCH", "/v1/cells/a?wait=fleet", moved, **{"if-match": "*"})
        assert explained(system, "a") == 502
        stack.enter_context(again)
        decided(system, "a", 200)
        assert explained(system, "b") == 200
    reporting.end()


def test_the_edge_is_believed_and_not_our_probe_which_serves_where_no_edge_reports(
    system: System,
) -> None:
    reporting = Reporting(system)
    with PickyCell("a", ENVOY) as a, PickyCell("b", OURS) as b, PickyCell("c") as c:
        add(system, a, b, c)
        wait_until(lambda: up(system) == {"a", "c"})
        reporting.begin()
        wait_until(lambda: up(system) == {"b", "c"})
        decided(system, "a", 502)
        decided(system, "b", 200)
        (node,) = system.api.get("/v1/fleet").json()["items"]
        assert node["reports_health"] is True
        reporting.end()
        wait_until(lambda: up(system) == {"a", "c"})
        (node,) = system.api.get("/v1/fleet").json()["items"]
        assert node["reports_health"] is False
        # An edge that holds every cell for down is believed, too.
        reporting.begin()
        b.refused.add(ENVOY)
        c.refused.add(ENVOY)
        wait_until(lambda: up(system) == set())
        reporting.end()


def test_both_probes_hold_the_same_answers_for_healthy(system: System) -> None:
    empty = b"content-length: 0\r\n\r\n"
    answers = {
        "aa": b"HTTP/1.1 200 OK\r\n" + empty,
        "ab": b"HTTP/1.1 204 \r\n\r\n",
        "ac": b"HTTP/1.1 299 X\r\n" + empty,
        "ad": b"HTTP/1.0 200 OK\r\n\r\nuntil it closes",
        "ae": b"HTTP/1.1 103 X\r\nlink: x\r\n\r\nHTTP/1.1 200\r\n" + empty,
        "af": b"HTTP/1.1 200 OK\r\nx: " + b"y" * 50_000 + b"\r\n" + empty,
        "ag": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "ba": b"HTTP/1.1 302 X\r\nlocation: /\r\n" + empty,
        "bb": b"HTTP/1.1 404 200\r\n" + empty,
        "bc": b"HTTP/1.1 29 X\r\n" + empty,
        "bd": b"HTTP/1.1 200 OK\r\nno header\r\n" + empty,
        "be": b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nless",
        "bf": b"SSH-2.0-x 200\r\n",
        "bg": b"",
    }
    well = {name for name in answers if name.startswith("a")}
    with ExitStack() as stack:
        cells = (PickyCell(name, raw=raw) for name, raw in answers.items())
        add(system, *(stack.enter_context(cell) for cell in cells))
        wait_until(lambda: up(system) == well)
        wait_until(lambda: {name for name in answers if answered(system, name) == 200} == well)


def test_neither_a_restarted_envoy_nor_a_restarted_control_plane_makes_it_flap(
    system: System,
) -> None:
    reporting = Reporting(system)
    with PickyCell("a", ENVOY) as a, PickyCell("b", OURS) as b, PickyCell("c") as c:
        add(system, a, b, c)
        reporting.begin()
        wait_until(lambda: up(system) == {"b", "c"})
        before = system.plane.topology.revision()
        system.stop_plane()
        system.start_plane()
        wait_until(lambda: len(system.api.get("/v1/fleet").json()["cells"]) == 3)
        system.restart_envoy()
        wait_until(lambda: len(system.api.get("/v1/fleet").json()["cells"]) == 3)
        assert up(system) == {"b", "c"}
        assert system.plane.topology.revision() == before, "nothing was written meanwhile"
        reporting.end()


@pytest.mark.slow
def test_an_agent_between_them_reports_for_its_envoy(
    tmp_path: Path, quick: None, system: System
) -> None:
    with ExitStack() as stack:
        grpc_port = system.plane.ports.grpc
        directory = tmp_path / "agent"
        directory.mkdir()
        admin = str(socket_in(directory, "admin.sock"))
        agent = AgentProcess(directory, grpc_port, envoy_admin=f"unix:{admin}")
        stack.enter_context(agent)
        member = FleetMember("n1", "edge", agent.socket, admin)
        bootstrap = json.loads(reconnecting_soon(compile_bootstrap(member)))
        picky = stack.enter_context(PickyCell("a", ENVOY))
        add(system, picky, stack.enter_context(PickyCell("b")))
        stack.enter_context(EnvoyProcess(bootstrap, directory, wait_ready=False))
        wait_until(lambda: up(system) == {"b"})
        reports = {
            n["id"]: n["reports_health"] for n in system.api.get("/v1/fleet").json()["items"]
        }
        assert reports == {"local": False, "n1": True}
        picky.refused.clear()
        wait_until(lambda: up(system) == {"a", "b"})
        picky.refused.add(ENVOY)
        wait_until(lambda: up(system) == {"b"})
        agent.kill()
        # Now our own probe decides, which the cell does not refuse.
        wait_until(lambda: up(system) == {"a", "b"})
        with contextlib.suppress(ProcessLookupError):
            agent.start()
        wait_until(lambda: up(system) == {"b"})


async def test_the_envoy_of_cellway_up_reports(tmp_path: Path) -> None:
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/up.db",
        data_dir=tmp_path,
        api_port=0,
        grpc_port=0,
        classifier_port=0,
        classifier_workers=0,
        edge_port=unused_port(),
    )
    async with everything(settings) as (plane, _, _):
        await until(lambda: plane.edges.nodes == {LOCAL_NODE})
