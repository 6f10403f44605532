"""A control plane over an empty database removes nothing from an Envoy that serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.conditions import wait_until
from tests.support.raw_client import RawClient
from tests.support.system import System


def prepare(system: System) -> None:
    system.add_cells()
    system.use_ruleset(RULES)
    system.in_step()


RULES = {
    "name": "r",
    "rules": [{"id": "all", "action": "classify", "classify": {"type": "FIRST_CELL"}}],
}


def empty(system: System, directory: Path) -> None:
    """Start the control plane again over an empty database, as if its URL were wrong."""
    system.stop_plane()
    for file in directory.glob("cellway.db*"):
        file.unlink()
    system.start_plane()
    wait_until(lambda: any(node.connected for node in system.plane.fleet.nodes()))


def serves(system: System) -> bool:
    with RawClient(system.edge_port) as client:
        return client.ask(b"/x")[0] == 200


@pytest.mark.parametrize(("cells", "delta"), [(1, True), (2, True), (1, False), (2, False)])
def test_an_empty_database_takes_nothing_away(cells: int, delta: bool, tmp_path: Path) -> None:
    with System(tmp_path, cells, delta=delta) as system:
        prepare(system)
        assert serves(system)
        empty(system, tmp_path)
        wait_until(lambda: system.api.get("/readyz").status_code == 503)
        assert "force" in system.api.get("/readyz").json()["alarm"]
        (node,) = system.api.get("/v1/fleet").json()["items"]
        assert node["state"] == "STALE", "it does not run what is published"
        assert serves(system)
        # A ruleset alone is still an empty topology: no cell would be left.
        stored = system.write("PUT", "/v1/rulesets/r", RULES)
        system.write("POST", "/v1/rulesets/r/activate", {"version": stored["ruleset"]["version"]})
        assert system.api.get("/readyz").status_code == 503
        assert serves(system)
        # The cells are added again: they are published, and the node is in step.
        system.add_cells()
        system.in_step()
        assert system.api.get("/readyz").status_code == 200
        assert serves(system)


def test_an_operator_who_forces_the_last_cell_out_is_told_what_the_fleet_does(
    tmp_path: Path,
) -> None:
    with System(tmp_path, 1) as system:
        prepare(system)
        match = {"if-match": "*"}
        refused = system.api.patch("/v1/cells/cell-1", json={"state": "retired"}, headers=match)
        assert refused.status_code == 409
        system.write(
            "PATCH", "/v1/cells/cell-1?force=true&reason=test", {"state": "retired"}, **match
        )
        wait_until(lambda: system.api.get("/readyz").status_code == 503)
        alarm = system.api.get("/readyz").json()["alarm"]
        assert "all clusters of cells (of which there are 1) would go" in alarm
        assert "--force-shrink" in alarm
        assert serves(system)
