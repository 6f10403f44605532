"""``cellway drain``: start, status, list, pause, resume, abort."""

from __future__ import annotations

import json

import pytest

from control_plane.cli.client import Exit
from control_plane.topology import Topology
from control_plane.topology.values.claim import ClaimSpec
from tests.cli.cellway_command import Cellway

START = (
    *("drain", "start", "cell-1", "--to", "0", "--step", "40", "--interval", "10m"),
    *("--expires", "2h", "--reason", "disks"),
)


def test_a_drain_is_looked_at_before_it_is_started(cellway: Cellway, topology: Topology) -> None:
    topology.claims.claim([ClaimSpec("route", "acme", "cell-1")], actor="test")
    dry = cellway(*START, "--dry-run", "-o", "json")
    assert dry.returncode == 0, dry.stderr
    preview = json.loads(dry.stdout)["preview"]
    assert [(one["after_s"], one["share"]) for one in preview["steps"]] == [
        (0, 60),
        (600, 20),
        (1200, 0),
    ]
    assert [one["part"] for one in preview["steps"]] == [30.0, 10.0, 0.0]
    assert [one["capacity_left"] for one in preview["steps"]] == [80.0, 60.0, 50.0]
    assert preview["parts"] == [
        {"cell": "cell-1", "now": 50.0, "at_target": 0.0},
        {"cell": "cell-2", "now": 50.0, "at_target": 100.0},
    ]
    assert preview["claims_that_stay"] == 1
    table = cellway(*START, "--dry-run")
    assert "CAPACITY LEFT" in table.stdout
    assert "1 claims stay with the cell" in table.stderr
    assert topology.drains.page() == []


def test_a_drain_is_followed_paused_and_aborted_by_the_name_of_its_cell(
    cellway: Cellway, topology: Topology
) -> None:
    started = cellway(*START)
    assert (started.returncode, "drain status cell-1" in started.stderr) == (0, True)
    again = cellway(*START)
    assert (again.returncode, "abort it first" in again.stderr) == (Exit.REFUSED, True)
    topology.drains.advance()
    drain = json.loads(cellway("drain", "status", "cell-1", "-o", "json").stdout)
    assert (drain["state"], drain["share"], drain["reason"]) == ("running", 60, "disks")
    for action, state in (("pause", "paused"), ("resume", "running"), ("abort", "aborted")):
        ended = cellway("drain", action, "cell-1")
        assert (ended.returncode, state in ended.stderr) == (0, True), ended.stderr
    assert topology.cells.get("cell-1").share == 100
    assert json.loads(cellway("drain", "list", "-o", "json").stdout) == []
    assert "aborted" in cellway("drain", "list", "--all").stdout
    assert cellway("drain", "abort", "cell-1").returncode == Exit.NOT_FOUND
    assert cellway("drain", "status", "cell-2").returncode == Exit.NOT_FOUND


@pytest.mark.parametrize("left_out", ["--to", "--step", "--interval", "--expires", "--reason"])
def test_nothing_of_a_drain_has_a_default(cellway: Cellway, left_out: str) -> None:
    at = START.index(left_out)
    ended = cellway(*START[:at], *START[at + 2 :])
    assert (ended.returncode, left_out in ended.stderr) == (Exit.USAGE, True)


def test_an_expiry_before_the_last_step_says_what_to_change(cellway: Cellway) -> None:
    ended = cellway(*START, "--interval", "2h")
    assert ended.returncode == Exit.USAGE
    assert "give a later expiry, a larger step or a shorter interval" in ended.stderr
