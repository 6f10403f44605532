"""``cellway cells``: list, get, add, set, remove."""

from __future__ import annotations

import json

import pytest

from control_plane.cli.client import Exit
from control_plane.topology import Topology
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.claim import ClaimSpec
from tests.cli.cellway_command import Cellway


def test_a_cell_is_added_shown_changed_and_removed(cellway: Cellway, topology: Topology) -> None:
    add = ("cells", "add", "eu", "--address", "eu.example", "--endpoint", "10.0.0.1:443")
    options = ("--id", "77", "--label", "region=eu", "--label", "tier=gold=1", "--weight", "5")
    added = cellway(*add, "--endpoint", "10.0.0.2:443", *options)
    assert (added.returncode, "eu (provisioning)" in added.stderr) == (0, True), added.stderr
    shown = json.loads(cellway("cells", "get", "eu", "-o", "json").stdout)
    assert (shown["id"], shown["weight"]) == (77, 5)
    assert shown["labels"] == {"region": "eu", "tier": "gold=1"}
    assert shown["endpoints"] == ["10.0.0.1:443", "10.0.0.2:443"]
    changed = cellway("cells", "set", "eu", "--endpoint", "10.0.0.3:443", "--state", "retired")
    assert changed.returncode == 0, changed.stderr
    assert [str(one) for one in topology.cells.get("eu").endpoints] == ["10.0.0.3:443"]
    listed = cellway("cells", "list").stdout
    (row,) = [line for line in listed.splitlines() if " eu " in line]
    assert row.split()[:5] == ["77", "eu", "retired", "5", "NO"]
    assert cellway("cells", "remove", "eu", "--yes").returncode == 0
    assert cellway("cells", "get", "eu").returncode == Exit.NOT_FOUND


def test_a_dry_run_changes_nothing(cellway: Cellway, topology: Topology) -> None:
    dry = cellway("cells", "set", "cell-2", "--weight", "1", "--dry-run", "-o", "json")
    assert (json.loads(dry.stdout)["dry_run"], "would change" in dry.stderr) == (True, True)
    assert topology.cells.get("cell-2").weight == 100


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (("--weight", "3", "--if-match", '"99"'), Exit.CONFLICT, "version"),
        (("--state", "retired"), Exit.REFUSED, "force"),
        ((), Exit.USAGE, "nothing to change; give --state"),
    ],
)
def test_a_change_that_is_not_made_says_why(
    cellway: Cellway, options: tuple[str, ...], status: Exit, says: str
) -> None:
    ended = cellway("cells", "set", "cell-1", *options)
    assert (ended.returncode, ended.stdout) == (status, "")
    assert says in ended.stderr


def test_a_label_is_a_key_and_a_value(cellway: Cellway) -> None:
    add = ("cells", "add", "x", "--address", "x", "--endpoint", "h:1")
    ended = cellway(*add, "--label", "oops")
    assert (ended.returncode, "write region=eu" in ended.stderr) == (Exit.USAGE, True)


def test_a_cell_is_not_removed_unasked(cellway: Cellway, topology: Topology) -> None:
    ended = cellway("cells", "remove", "cell-1")
    assert (ended.returncode, "--yes" in ended.stderr) == (Exit.USAGE, True)
    assert topology.cells.get("cell-1").name == "cell-1"


def test_force_needs_a_reason_and_the_cells_name_even_with_yes(
    cellway: Cellway, topology: Topology
) -> None:
    topology.claims.claim([ClaimSpec("route", "acme", "cell-1", "acme")], actor="test")
    topology.cells.set_state("cell-1", CellState.DRAINING, actor="test")
    drained = ("cells", "set", "cell-1", "--state", "drained")
    refused = cellway(*drained, "--yes")
    assert refused.returncode == Exit.REFUSED
    assert "acme (1); move them" in refused.stderr
    assert "repeat with --force and --reason" in refused.stderr
    assert cellway(*drained, "--force").returncode == Exit.USAGE
    forced = (*drained, "--force", "--reason", "it burns")
    unconfirmed = cellway(*forced, "--yes")
    assert (unconfirmed.returncode, "--confirm cell-1" in unconfirmed.stderr) == (Exit.USAGE, True)
    assert cellway(*forced, "--confirm", "cell-2").returncode == Exit.REFUSED
    assert topology.cells.get("cell-1").state is CellState.DRAINING
    assert cellway(*forced, "--dry-run").returncode == Exit.OK
    assert cellway(*forced, "--confirm", "cell-1").returncode == Exit.OK
    after = topology.changes.newest(kind="cell")[0][0].after
    assert after is not None
    assert (after["state"], after["reason"]) == ("drained", "it burns")
