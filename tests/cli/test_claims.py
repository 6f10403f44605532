"""``cellway claims``: claim, get, list, release, and what operators do with many."""

from __future__ import annotations

import json

import pytest

from control_plane.cli.client import Exit
from control_plane.topology import Topology
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.claim import RecordSpec
from tests.cli.cellway_command import Cellway
from tests.topology.conftest import cell_spec


def test_values_are_claimed_and_released_together(cellway: Cellway, topology: Topology) -> None:
    done = cellway("claims", "claim", "cell-1", "route:foo", "username:bob")
    assert (done.returncode, "claimed, revision" in done.stderr) == (0, True)
    taken = cellway("claims", "claim", "cell-2", "route:new", "route:FOO")
    assert (taken.returncode, taken.stdout) == (Exit.CONFLICT, "")
    assert "route:foo belongs to cell-1" in taken.stderr
    assert cellway("claims", "get", "route:new").returncode == Exit.NOT_FOUND
    unasked = cellway("claims", "release", "route:foo")
    assert (unasked.returncode, "--yes" in unasked.stderr) == (Exit.USAGE, True)
    others = cellway("claims", "release", "route:foo", "--cell", "cell-2", "--yes")
    assert others.returncode != 0
    assert cellway("claims", "release", "route:foo", "username:bob", "--yes").returncode == 0
    assert cellway("claims", "get", "username:bob").returncode == Exit.NOT_FOUND


@pytest.mark.parametrize("value", ["who?", "a%2fb", "a/b#c", "ünïcode", "a b", "a;b=c&d"])
def test_a_value_may_have_any_characters(cellway: Cellway, value: str) -> None:
    claimed = cellway("claims", "claim", "cell-2", f"tenant:{value}")
    assert claimed.returncode == 0, claimed.stderr
    shown = cellway("claims", "get", f"tenant:{value}", "-o", "json")
    assert json.loads(shown.stdout)["value"] == value


def test_a_list_is_filtered_and_says_that_there_are_more(cellway: Cellway) -> None:
    keys = [f"route:list-{number}" for number in range(3)]
    assert cellway("claims", "claim", "cell-2", *keys).returncode == 0
    options = ("--bucket", "route", "--cell", "cell-2", "--prefix", "list-")
    listed = json.loads(cellway("claims", "list", *options, "-o", "json").stdout)
    assert [f"{one['bucket']}:{one['value']}" for one in listed] == keys
    some = cellway("claims", "list", *options, "--limit", "2")
    assert "there are more; raise --limit (now 2)" in some.stderr
    assert some.stdout.splitlines()[0].split() == ["BUCKET", "VALUE", "CELL", "SUBJECT", "REVISION"]


def test_a_subjects_claims_move_together(cellway: Cellway, topology: Topology) -> None:
    records = [RecordSpec("route", f"moved-{name}", 3, 7) for name in "abc"]
    lease = topology.leases.begin(1, records, [], actor="cell-1").value.uuid
    topology.leases.commit(1, lease, actor="cell-1")
    cells = ("--from", "cell-1", "--to", "cell-2", "--reason", "r")
    move = ("claims", "transfer", "project:7", *cells)
    dry = cellway(*move, "-n", "-o", "json")
    assert "would move 3 claims" in dry.stderr
    assert (json.loads(dry.stdout)["moved"], json.loads(dry.stdout)["dry_run"]) == (3, True)
    assert cellway(*move, "--yes").returncode == 0
    assert topology.claims.get("route", "moved-a").cell == "cell-2"
    again = cellway(*move, "--yes")
    assert again.returncode == Exit.NOT_FOUND
    text = cellway("claims", "transfer", "gid://nobody", *cells, "--yes")
    assert text.returncode == Exit.NOT_FOUND


def test_all_claims_of_a_retired_cell_are_released(cellway: Cellway, topology: Topology) -> None:
    topology.cells.create(cell_spec(3), actor="test")
    assert cellway("claims", "claim", "cell-3", "route:old").returncode == 0
    empty = ("claims", "release-all", "cell-3", "--reason", "it is gone", "--yes", "-o", "json")
    assert cellway(*empty).returncode == Exit.REFUSED
    topology.cells.set_state("cell-3", CellState.RETIRED, actor="test", force=True, reason="test")
    dry = cellway(*empty, "-n")
    assert (dry.returncode, "would do" in dry.stderr) == (0, True)
    done = cellway(*empty)
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["state"], json.loads(done.stdout)["done"]) == ("done", 1)
