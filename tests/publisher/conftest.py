"""A topology to publish: two cells, a ruleset, and one claim."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.topology import Topology
from control_plane.topology.values.claim import ClaimSpec
from tests.support.plane import add_cell, route_all


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    made = Topology.open(f"sqlite:///{tmp_path}/p.db")
    for number in (1, 2):
        add_cell(made, f"cell-{number}")
    route_all(made)
    made.claims.claim([ClaimSpec("route", "a", "cell-1", subject="s")], actor="t")
    yield made
    made.close()
