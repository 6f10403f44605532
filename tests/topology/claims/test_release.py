"""A retired cell is emptied of its claims in bounded transactions."""

from __future__ import annotations

import pytest

from control_plane.topology import Topology
from control_plane.topology.claims import release
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.errors import (
    LeaseSettled,
    Refused,
)
from tests.topology.claims.steps import own_records, project

ME = "operator"
WHY = "the data centre burnt down"


def test_a_retired_cell_is_emptied_in_bounded_batches(
    two: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_records(two, 1, *project(7, *(f"r{n}" for n in range(25))))
    own_records(two, 2, *project(8, "stays"))
    with pytest.raises(Refused, match="retire it first"):
        two.releases.release_all("cell-1", reason=WHY, actor=ME)
    lease = two.leases.begin(1, project(9, "open"), [], actor="c").value.uuid
    two.cells.set_state("cell-1", CellState.RETIRED, actor=ME, force=True, reason="test")
    with pytest.raises(Refused, match="settle them first"):
        two.releases.release_all("cell-1", reason=WHY, actor=ME)
    two.open_leases.settle_all("cell-1", "committed", reason=WHY, actor=ME)
    with pytest.raises(LeaseSettled):
        two.leases.roll_back(1, lease, actor="c")
    monkeypatch.setattr(release, "RELEASE_CLAIMS", 10)
    before = two.revision()
    assert two.releases.release_all("cell-1", reason=WHY, actor=ME) == 26
    assert two.revision() == before + 3, "three transactions"
    assert two.claims.count() == {"route": 1}
    two.cells.remove("cell-1", actor=ME)
