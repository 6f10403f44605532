"""What is shown of a node: the worst of its types, the oldest of its streams."""

from __future__ import annotations

from datetime import UTC, datetime

from control_plane.names import CDS
from control_plane.xds.fleet.node import Node
from control_plane.xds.session.delta import DeltaSession
from tests.xds.session.envoy_model import DeltaClient, boot
from tests.xds.session.scripts import fleet

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def node(*sessions: DeltaSession) -> Node:
    return Node("n", "edge", "1.40.0", NOW, NOW, sessions=list(sessions))


def booted(revision: int, *, refuses: str = "") -> DeltaSession:
    client = DeltaClient(DeltaSession())
    client.refuses = set(refuses)
    client.session.on_snapshot(fleet(revision, "ab"))
    boot(client)
    return client.session


def test_a_node_runs_what_the_oldest_of_its_streams_runs() -> None:
    status = node(booted(3), booted(2)).status()
    assert (status.acked_revision, status.state, status.connected) == (2, "SYNCED", True)
    assert len(status.types) == 8


def test_the_worst_state_of_a_type_is_that_of_the_node() -> None:
    assert node(booted(1), booted(1, refuses="a")).status().state == "NACKED"
    assert node(DeltaSession()).status().state == "NOT_SENT"


def test_a_disconnected_node_shows_what_it_ran_last() -> None:
    session = booted(4)
    one = node(session)
    one.last_status = one.status()
    one.sessions.clear()
    status = one.status()
    assert (status.acked_revision, status.state, status.connected) == (4, "DISCONNECTED", False)
    assert status.types == one.last_status.types


def test_as_json_a_type_has_its_short_name_and_an_outdated_envoy_says_why() -> None:
    old = Node("n", "edge", "1.30.0", NOW, NOW, sessions=[booted(1)])
    shown = old.status().as_dict()
    assert "older than" in shown["outdated"]
    (clusters,) = (one for one in shown["types"] if one["type"] == CDS.rpartition(".")[2])
    assert (clusters["state"], clusters["rejected"]) == ("SYNCED", [])
    assert node(booted(1)).status().as_dict()["outdated"] is None
