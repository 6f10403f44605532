"""A denied endpoint that is stored is left out, and counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from control_plane.compiler.model import TrafficPolicy
from control_plane.publisher.edge_snapshots import EdgeSnapshots
from control_plane.publisher.reachable_cells import ReachableCells
from control_plane.topology import Topology
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.endpoint_policy import EndpointPolicy, networks
from tests.support.plane import add_cell, route_all

DENYING = EndpointPolicy(denied=networks(["10.9.0.0/16"]))
GOOD, BAD = Endpoint("10.0.0.1", 80), Endpoint("10.9.0.1", 80)


def cells(tmp_path: Path) -> Topology:
    topology = Topology.open(f"sqlite:///{tmp_path}/t.db")
    add_cell(topology, "mixed", endpoints=(GOOD, BAD))
    add_cell(topology, "bad", endpoints=(BAD,))
    add_cell(topology, "good", endpoints=(GOOD,))
    return topology


def test_denied_endpoints_are_left_out_and_counted(tmp_path: Path) -> None:
    topology = cells(tmp_path)
    reachable = ReachableCells(DENYING)
    by_name = {cell.name: cell for cell in reachable.of(topology.cells.all())}
    assert by_name["mixed"].endpoints == (GOOD,)
    assert by_name["bad"].endpoints == ()
    assert by_name["good"] is not None
    assert reachable.denied == 2
    topology.close()


def test_a_cell_that_changes_is_judged_anew(tmp_path: Path) -> None:
    topology = cells(tmp_path)
    reachable = ReachableCells(DENYING)
    first = topology.cells.all()
    reachable.of(first)
    mended = tuple(replace(cell, endpoints=(GOOD,)) for cell in first)
    assert [cell.endpoints for cell in reachable.of(mended)] == [(GOOD,)] * 3
    assert reachable.denied == 0
    topology.close()


def test_no_snapshot_names_a_denied_address(tmp_path: Path) -> None:
    topology = cells(tmp_path)
    route_all(topology)
    snapshots = EdgeSnapshots(TrafficPolicy(), DENYING)
    snapshot = snapshots.of(topology.snapshot())
    assert snapshots.denied == 2
    assert b"10.9.0.1" not in b"".join(
        resource.body
        for type_url in snapshot.types
        for resource in snapshot.of_type(type_url).values()
    )
    topology.close()
