"""What a state of the topology becomes for the fleet."""

from __future__ import annotations

from dataclasses import replace

from control_plane.compiler.model import TrafficPolicy
from control_plane.names import CDS, ECDS, EDGE_SECRET_NAME, EPOCHS_FILTER, RDS, SDS
from control_plane.publisher.edge_snapshots import EdgeSnapshots
from control_plane.topology import Topology
from control_plane.topology.values.cell import CellState


def test_a_retired_cell_gets_no_resource(topology: Topology) -> None:
    state = topology.snapshot()
    retired = replace(state.cells[1], state=CellState.RETIRED)
    snapshot = EdgeSnapshots(TrafficPolicy()).of(replace(state, cells=(state.cells[0], retired)))
    assert "cell:cell-1" in snapshot.of_type(CDS)
    assert "cell:cell-2" not in snapshot.of_type(CDS)


def test_without_an_active_ruleset_there_is_nothing_to_serve(topology: Topology) -> None:
    state = replace(topology.snapshot(), ruleset=None)
    snapshot = EdgeSnapshots(TrafficPolicy()).of(state)
    assert snapshot.revision == state.revision
    assert not snapshot.of_type(CDS)
    assert not snapshot.of_type(RDS)


def test_what_has_not_changed_is_the_same_resource(topology: Topology) -> None:
    snapshots = EdgeSnapshots(TrafficPolicy())
    state = topology.snapshot()
    first = snapshots.of(state)
    second = snapshots.of(replace(state, revision=state.revision + 1))
    assert second.of_type(CDS)["cell:cell-1"] is first.of_type(CDS)["cell:cell-1"]
    assert second.revision == first.revision + 1


def test_epochs_alone_are_brought_to_a_newer_state_only_where_they_are_shown(
    topology: Topology,
) -> None:
    state = topology.snapshot()
    newer = replace(state, revision=state.revision + 1, epochs={7: state.revision + 1})
    for entries, shown in ((1000, True), (0, False)):
        snapshots = EdgeSnapshots(TrafficPolicy(edge_cache_entries=entries))
        first = snapshots.of(state)
        second = snapshots.with_epochs(first, newer)
        assert second.revision == newer.revision
        assert (EPOCHS_FILTER in second.of_type(ECDS)) is shown
        assert bool({name for names in second.changed(first).values() for name in names}) is shown


def test_a_rotation_changes_the_secret_and_nothing_else_of_the_edge(topology: Topology) -> None:
    snapshots = EdgeSnapshots(TrafficPolicy(sends_secret=True))
    first = snapshots.of(topology.snapshot())
    topology.edge_secrets.rotate(actor="t", force=True)
    second = snapshots.of(topology.snapshot())
    assert {url: names for url, names in second.changed(first).items() if names} == {
        SDS: {EDGE_SECRET_NAME}
    }
    assert SDS not in EdgeSnapshots(TrafficPolicy()).of(topology.snapshot()).types
