"""What a cell may become, what is refused, and which of its changes void answers."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from control_plane.routing import model as routing
from control_plane.topology import Topology
from control_plane.topology.maintenance.desired import Desired
from control_plane.topology.values.cell import CellSpec, CellState, CellTLS, SequenceRange
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.endpoint_policy import EndpointPolicy, networks
from control_plane.topology.values.errors import (
    AlreadyExists,
    Invalid,
    NotFound,
    Refused,
    StaleVersion,
)
from tests.topology.conftest import cell_spec

ME = "tester"


def spec(number: int, **more: Any) -> CellSpec:
    return replace(cell_spec(number), **more)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "Cell 1"}, "name"),
        ({"name": ""}, "name"),
        ({"address": "http://x"}, "address"),
        ({"address": "x:99999"}, "address"),
        ({"endpoints": ()}, "endpoints"),
        ({"endpoints": (Endpoint("10.0.0.1", 1), Endpoint("dns.example", 1))}, "endpoints"),
        ({"endpoints": (Endpoint("169.254.169.254", 80),)}, "endpoints"),
        ({"session_prefix": "a b"}, "session_prefix"),
        ({"weight": 1001}, "weight"),
        ({"weight": -1}, "weight"),
        ({"id": 0}, "id"),
        ({"health_check_path": "health"}, "health_check_path"),
        ({"labels": {"a b": "c"}}, "labels"),
        ({"sequence_ranges": (SequenceRange(5, 1),)}, "sequence_ranges"),
        ({"sequence_ranges": (SequenceRange(1, 5), SequenceRange(5, 9))}, "sequence_ranges"),
    ],
)
def test_a_malformed_cell_names_the_field(
    topology: Topology, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        topology.cells.create(spec(1, **change), actor=ME)
    assert field in {problem.field for problem in caught.value.problems}
    assert all(problem.hint for problem in caught.value.problems)
    assert topology.revision() == 0


@pytest.mark.parametrize(
    "clash",
    [
        {"name": "cell-1"},
        {"address": "CELL-1.example.com"},
        {"session_prefix": "cell-1"},
        {"id": 1},
    ],
)
def test_what_must_be_unique_is(two: Topology, clash: dict[str, Any]) -> None:
    with pytest.raises(AlreadyExists) as caught:
        two.cells.create(spec(3, **clash), actor=ME)
    assert caught.value.taken[0][1] == "cell-1"


def test_a_denied_endpoint_that_a_cell_has_already_stays(tmp_path: Path) -> None:
    """Else nobody could drain such a cell before its address is mended."""
    stored, other = Endpoint("10.9.0.1", 80), Endpoint("10.9.0.2", 80)
    url = f"sqlite:///{tmp_path}/t.db"
    with contextlib.closing(Topology.open(url)) as topology:
        topology.cells.create(spec(1, endpoints=(stored,)), actor=ME)
    denying = EndpointPolicy(denied=networks(["10.9.0.0/16"]))
    with contextlib.closing(Topology.open(url, endpoint_policy=denying)) as topology:
        heavier = spec(1, endpoints=(stored,), weight=5)
        assert topology.cells.replace("cell-1", heavier, actor=ME).value.weight == 5
        topology.cells.set_state("cell-1", CellState.CANARY, actor=ME, force=True, reason="test")
        with pytest.raises(Invalid):
            topology.cells.replace("cell-1", spec(1, endpoints=(stored, other)), actor=ME)
        with pytest.raises(Invalid):
            topology.desired.apply(
                Desired([spec(2, endpoints=(other,))]), base=topology.revision(), actor=ME
            )


def test_sequence_ranges_never_overlap(two: Topology) -> None:
    two.cells.create(spec(3, sequence_ranges=(SequenceRange(10, 20),)), actor=ME)
    with pytest.raises(AlreadyExists):
        two.cells.create(spec(4, sequence_ranges=(SequenceRange(20, 30),)), actor=ME)
    two.cells.create(spec(4, sequence_ranges=(SequenceRange(21, 30),)), actor=ME)


def test_a_stale_writer_is_refused(two: Topology) -> None:
    version = two.cells.get("cell-1").version
    two.cells.replace("cell-1", spec(1, weight=5), actor=ME, expected_version=version)
    with pytest.raises(StaleVersion) as caught:
        two.cells.replace("cell-1", spec(1, weight=9), actor=ME, expected_version=version)
    assert caught.value.actual == 3
    assert two.cells.get("cell-1").weight == 5


def test_writing_the_same_again_changes_nothing(two: Topology) -> None:
    written = two.cells.replace("cell-1", spec(1), actor=ME)
    assert written.changes == ()
    assert two.revision() == 2
    two.cells.set_health("cell-1", healthy=True, actor=ME)
    assert two.revision() == 2


def test_states_follow_a_cells_life(two: Topology) -> None:
    for state in ("draining", "drained", "retired"):
        two.cells.set_state("cell-1", CellState(state), actor=ME)
    assert not two.cells.get("cell-1").serving
    with pytest.raises(Refused, match="from retired a cell goes to: nothing"):
        two.cells.set_state("cell-1", CellState.ACTIVE, actor=ME)
    two.cells.set_state("cell-1", CellState.ACTIVE, actor=ME, force=True, reason="test")
    assert two.cells.get("cell-1").accepts_new


def test_the_last_cell_that_takes_new_traffic_stays(two: Topology) -> None:
    two.cells.set_state("cell-1", CellState.CORDONED, actor=ME)
    with pytest.raises(Refused, match="no cell would be left"):
        two.cells.set_state("cell-2", CellState.CORDONED, actor=ME)
    with pytest.raises(Refused):
        two.cells.replace("cell-2", spec(2, weight=0), actor=ME)
    two.cells.set_state("cell-2", CellState.CORDONED, actor=ME, force=True, reason="test")
    assert two.cells.get("cell-1").serving


def test_a_cell_goes_only_when_it_is_retired_and_owns_nothing(two: Topology) -> None:
    two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME)
    with pytest.raises(Refused, match="retire it first"):
        two.cells.remove("cell-1", actor=ME)
    two.cells.set_state("cell-1", CellState.RETIRED, actor=ME, force=True, reason="test")
    with pytest.raises(Refused, match="owns 1 claims"):
        two.cells.remove("cell-1", actor=ME)
    two.claims.release([("route", "a")], actor=ME)
    two.cells.remove("cell-1", actor=ME)
    with pytest.raises(NotFound):
        two.cells.get("cell-1")


LABELLED: dict[str, Any] = {"labels": {"zone": "a"}}


REACHED: dict[str, Any] = {
    "endpoints": (Endpoint("10.9.9.9", 443),),
    "tls": CellTLS("cell-1.internal"),
    "health_check_path": "/healthz",
    "sequence_ranges": (SequenceRange(900, 999),),
}


ROUTED: dict[str, Any] = {
    "address": "other.example.com",
    "session_prefix": "other",
    "state": CellState.DRAINING,
    "weight": 7,
}


@pytest.mark.parametrize("field", [*LABELLED, *REACHED, *ROUTED])
def test_only_what_cells_are_chosen_by_voids_answers(two: Topology, field: str) -> None:
    before = two.snapshot()
    changed = replace(
        two.cells.get("cell-1").spec(), **{field: (LABELLED | REACHED | ROUTED)[field]}
    )
    two.cells.replace("cell-1", changed, actor=ME)
    after = two.snapshot()
    assert after.edge_revision == after.revision == before.revision + 1
    expected = after.revision if field in ROUTED else before.answers_revision
    assert after.answers_revision == expected


def test_everything_that_a_decision_looks_at_voids_answers(two: Topology) -> None:
    looked_at = [name for name, kind in vars(routing.Cell).items() if isinstance(kind, property)]
    assert "session_prefix" in looked_at

    def view() -> list[list[Any]]:
        return [[getattr(cell, name) for name in looked_at] for cell in two.cells.all()]

    for field, value in (LABELLED | REACHED).items():
        before = view()
        two.cells.replace(
            "cell-1", replace(two.cells.get("cell-1").spec(), **{field: value}), actor=ME
        )
        assert view() == before, f"{field} takes part in decisions, so it must void answers"
    two.cells.set_health("cell-1", healthy=False, actor=ME)
    assert two.snapshot().answers_revision == two.revision()


def test_a_change_that_does_not_say_what_it_touches_voids_answers(two: Topology) -> None:
    """As by a control plane of before, which runs on while another has migrated already."""
    spec = two.cells.get("cell-1").spec()
    two.cells.replace("cell-1", replace(spec, **LABELLED), actor=ME)
    assert two.snapshot().answers_revision == 2
    with two.engine.begin() as connection:
        connection.execute(text("UPDATE revisions SET revision = 4, edge_revision = 4"))
    assert two.snapshot().answers_revision == 4
    two.cells.replace("cell-1", spec, actor=ME)
    snapshot = two.snapshot()
    assert (snapshot.edge_revision, snapshot.answers_revision) == (5, 4)
    two.cells.set_state("cell-1", CellState.DRAINING, actor=ME)
    assert two.snapshot().answers_revision == 6
