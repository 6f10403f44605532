"""Everything dead: an Envoy that restarts comes up from its own disk, through the real Envoy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from control_plane.compiler.bootstrap import FleetMember, compile_bootstrap
from tests.e2e.echo_upstream import EchoUpstream
from tests.e2e.load import Answer, Load
from tests.e2e.restarts import AMBIGUOUS, NATIVE, ROUTES_SENT, TAKEN_UP
from tests.support.agent_process import AgentProcess
from tests.support.conditions import wait_until
from tests.support.envoy_process import EnvoyProcess
from tests.support.plane_process import PlaneProcess
from tests.support.system import RULESETS, RawClient

NATIVE_ANSWER = Answer("native", 200, "cell-2")
AMBIGUOUS_ANSWER = Answer("ambiguous", 200, "cell-1")
REFUSED = Answer("ambiguous", 503, "")
REQUESTS = {"native": NATIVE, "ambiguous": AMBIGUOUS}
FOR_CELL = re.compile(rb"x-cellway-cell: (.+)\r")
ASKED_BY_SESSION = [("cookie", b"_gitlab_session=cell-2-a")]


@dataclass
class Edge:
    """Cells, a control plane, an agent and an Envoy: each a process (cells: threads)."""

    plane: PlaneProcess
    agent: AgentProcess
    envoy: EnvoyProcess
    revision: int = 0
    """Of the last write."""

    def write(self, method: str, path: str, body: Any, **headers: str) -> Any:
        answer = self.plane.write(method, path, body, **headers)
        self.revision = answer["revision"]
        return answer

    def add_cell(self, name: str, port: int) -> None:
        body = {
            "name": name,
            "address": f"{name}.example.com",
            "endpoints": [f"127.0.0.1:{port}"],
            "session_prefix": name,
            "state": "active",
        }
        self.write("POST", "/v1/cells", body)

    def in_step(self) -> None:
        def followed() -> bool:
            items = self.plane.api.get("/v1/fleet").json()["items"]
            return any(i["connected"] and i["acked_revision"] >= self.revision for i in items)

        wait_until(followed)

    def on_disk(self) -> None:
        wait_until(lambda: self.agent.metric("cellway_agent_snapshot_revision") >= self.revision)

    def kill_all(self) -> None:
        """Everything but the cells."""
        self.plane.kill()
        self.plane.kill_classifiers()
        self.agent.kill()
        self.envoy.kill()

    def restart_edge(self) -> None:
        self.agent.start()
        self.envoy.start()

    def served(self) -> dict[str, tuple[int, str]]:
        """Status, and the cell that the request says it is for when it arrives there."""
        with RawClient(self.plane.edge_port) as client:
            native = client.ask(b"/-/x", ASKED_BY_SESSION)
            ambiguous = client.ask(b"/foo/x")
        return {
            name: (status, arrived[1].decode() if (arrived := FOR_CELL.search(body)) else "")
            for name, (status, _, body) in (("native", native), ("ambiguous", ambiguous))
        }

    def shows_cells(self) -> bool:
        """Whether the filter that shows the cell to callers is there: it comes last."""
        with RawClient(self.plane.edge_port) as client:
            return "x-cellway-cell" in client.ask(b"/-/x", ASKED_BY_SESSION)[1]


@pytest.fixture
def cells() -> Iterator[list[EchoUpstream]]:
    with ExitStack() as stack:
        yield [stack.enter_context(EchoUpstream()) for _ in range(3)]


@pytest.fixture
def edge(tmp_path: Path, cells: list[EchoUpstream]) -> Iterator[Edge]:
    """Two of the cells are known, the Envoy is in step, and so is its disk."""
    with ExitStack() as stack:
        plane = stack.enter_context(PlaneProcess(tmp_path))
        agent = stack.enter_context(AgentProcess(tmp_path, plane.grpc_port))
        member = FleetMember("n1", "edge", "127.0.0.1", agent.port, 0)
        bootstrap: dict[str, Any] = json.loads(compile_bootstrap(member))
        edge = Edge(plane, agent, EnvoyProcess(bootstrap, tmp_path, wait_ready=False))
        for number, cell in enumerate(cells[:2], 1):
            edge.add_cell(f"cell-{number}", cell.port)
        claim = {"bucket": "route", "value": "foo", "cell": "cell-1"}
        edge.write("POST", "/v1/claims", {"claims": [claim]})
        gitlab = json.loads((RULESETS / "gitlab.json").read_text())
        kept = edge.write("PUT", "/v1/rulesets/gitlab", gitlab)["ruleset"]
        edge.write("POST", "/v1/rulesets/gitlab/activate", {"version": kept["version"]})
        stack.enter_context(edge.envoy)
        edge.in_step()
        edge.on_disk()
        yield edge


def test_killed_altogether_the_edge_comes_back_from_disk_and_goes_live_without_losing_a_request(
    edge: Edge, cells: list[EchoUpstream]
) -> None:
    assert edge.served() == {"native": (200, "cell-2"), "ambiguous": (200, "cell-1")}
    edge.kill_all()
    edge.restart_edge()
    wait_until(lambda: edge.envoy.is_ready())
    assert edge.served() == {"native": (200, "cell-2"), "ambiguous": (503, "")}
    assert edge.agent.metric("cellway_agent_streams", **{"from": "snapshot"}) == 1
    assert "Envoy starts from the snapshot" in edge.agent.said()
    wait_until(edge.shows_cells)
    with Load(edge.plane.edge_port, REQUESTS) as load:
        load.go_on(200)
        assert load.take().keys() == {NATIVE_ANSWER, REFUSED}
        taken_up = edge.envoy.stats(f"{TAKEN_UP}|{ROUTES_SENT}")
        assert len(taken_up) > 10
        edge.plane.start()
        edge.in_step()
        wait_until(lambda: load.seen()[AMBIGUOUS_ANSWER] > 0)
        # What came from disk is what the control plane has: it sent nothing.
        assert edge.envoy.stats(f"{TAKEN_UP}|{ROUTES_SENT}") == taken_up
        assert load.take().keys() <= {NATIVE_ANSWER, AMBIGUOUS_ANSWER, REFUSED}
        # Live: what is new arrives, and is kept.
        edge.add_cell("cell-3", cells[2].port)
        edge.in_step()
        edge.on_disk()
        load.go_on(200)
        assert load.take().keys() == {NATIVE_ANSWER, AMBIGUOUS_ANSWER}
    assert edge.agent.metric("cellway_agent_streams", **{"from": "live"}) == 1
    assert edge.agent.metric("cellway_agent_streams", **{"from": "snapshot"}) == 0
    with RawClient(edge.plane.edge_port) as client:
        third = client.ask(b"/-/x", [("cookie", b"_gitlab_session=cell-3-a")])
    assert third[1]["x-cellway-cell"] == "cell-3"


def test_damaged_newest_then_full_disk_then_frozen_control_plane(
    edge: Edge, cells: list[EchoUpstream]
) -> None:
    edge.add_cell("cell-3", cells[2].port)
    edge.in_step()
    edge.on_disk()
    newest = edge.agent.snapshots()[-1]
    assert len(edge.agent.snapshots()) >= 2
    edge.kill_all()
    newest.write_bytes(newest.read_bytes()[:-1])
    edge.restart_edge()
    wait_until(edge.envoy.is_ready)
    # The one before knows nothing of the third cell, but serves the others.
    assert edge.served() == {"native": (200, "cell-2"), "ambiguous": (503, "")}
    assert edge.agent.metric("cellway_agent_snapshots_bad") == 1
    assert f"{newest} can't be used" in edge.agent.said()
    assert "cell:cell-3" not in edge.envoy.admin("/clusters")[1]
    edge.plane.start()
    edge.in_step()
    edge.on_disk()
    assert "cell:cell-3" in edge.envoy.admin("/clusters")[1]

    # A disk without room: the last good one stays, and the change is served nevertheless.
    edge.agent.kill()
    edge.agent.max_file_bytes = 8192
    edge.agent.start()
    edge.in_step()
    before = edge.agent.snapshots()
    retired = "/v1/cells/cell-3?wait=fleet&timeout=20s"
    edge.write("PATCH", retired, {"state": "draining"}, **{"if-match": "*"})
    edge.write("PATCH", retired, {"state": "drained"}, **{"if-match": "*"})
    wait_until(lambda: edge.agent.metric("cellway_agent_snapshot_unsaved") == 1)
    assert edge.agent.metric("cellway_agent_snapshot_save_failures_total") >= 1
    assert "can't be written" in edge.agent.said()
    assert edge.agent.snapshots() == before
    assert edge.served() == {"native": (200, "cell-2"), "ambiguous": (200, "cell-1")}

    # Stopped, not dead: its port accepts, and never answers.
    edge.agent.kill()
    edge.agent.max_file_bytes = -1
    edge.envoy.kill()
    with edge.plane.frozen():
        edge.restart_edge()
        wait_until(edge.envoy.is_ready)
        assert edge.served()["native"] == (200, "cell-2")
        assert edge.agent.metric("cellway_agent_streams", **{"from": "snapshot"}) == 1
    edge.in_step()
    edge.on_disk()
    assert edge.served() == {"native": (200, "cell-2"), "ambiguous": (200, "cell-1")}
