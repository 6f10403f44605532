"""Everything is dead: a real Envoy that restarts comes up from the agent's disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.agent_edge import Edge, running_edge
from tests.e2e.echo_upstream import EchoUpstream
from tests.e2e.load import Answer, Load
from tests.e2e.restarts import AMBIGUOUS, NATIVE, ROUTES_SENT, TAKEN_UP
from tests.support.conditions import wait_until
from tests.support.raw_client import RawClient

NATIVE_ANSWER = Answer("native", 200, "cell-2")
AMBIGUOUS_ANSWER = Answer("ambiguous", 200, "cell-1")
REFUSED = Answer("ambiguous", 503, "")
REQUESTS = {"native": NATIVE, "ambiguous": AMBIGUOUS}


@pytest.fixture
def cells() -> Iterator[list[EchoUpstream]]:
    with ExitStack() as stack:
        yield [stack.enter_context(EchoUpstream()) for _ in range(3)]


@pytest.fixture
def edge(tmp_path: Path, cells: list[EchoUpstream]) -> Iterator[Edge]:
    with running_edge(tmp_path, cells) as running:
        yield running


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
        # The snapshot on disk is what the control plane has, so it sent nothing.
        assert edge.envoy.stats(f"{TAKEN_UP}|{ROUTES_SENT}") == taken_up
        assert load.take().keys() <= {NATIVE_ANSWER, AMBIGUOUS_ANSWER, REFUSED}
        # The stream is live: a change arrives, and is saved.
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


def test_a_damaged_snapshot_a_full_disk_and_a_frozen_control_plane_are_survived(
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
    # The snapshot before it has no third cell, but serves the others.
    assert edge.served() == {"native": (200, "cell-2"), "ambiguous": (503, "")}
    assert edge.agent.metric("cellway_agent_snapshots_bad") == 1
    assert f"{newest} can't be used" in edge.agent.said()
    assert "cell:cell-3" not in edge.envoy.admin("/clusters")[1]
    edge.plane.start()
    edge.in_step()
    edge.on_disk()
    assert "cell:cell-3" in edge.envoy.admin("/clusters")[1]

    # On a full disk the last good snapshot stays, and the change is served nevertheless.
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

    # A stopped control plane accepts connections, and never answers.
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
