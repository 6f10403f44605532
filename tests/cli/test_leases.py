"""``cellway claims leases`` and ``settle``: what a cell left open is listed and ended."""

from __future__ import annotations

import json

import pytest

from control_plane.cli.client import Exit
from control_plane.topology import Topology
from control_plane.topology.values.claim import RecordSpec
from tests.cli.cellway_command import Cellway


def begin(topology: Topology, *values: str, cell: int = 1) -> str:
    records = [RecordSpec("route", value, 3, 7) for value in values]
    return str(topology.leases.begin(cell, records, [], actor="a cell").value.uuid)


def leases(cellway: Cellway, *options: str) -> list[tuple[str, int]]:
    listed = json.loads(cellway("claims", "leases", *options, "-o", "json").stdout)
    return [(one["lease"], one["creating"]) for one in listed]


def test_one_lease_is_listed_and_settled(cellway: Cellway, topology: Topology) -> None:
    lease = begin(topology, "a", "b")
    assert leases(cellway) == [(lease, 2)]
    assert leases(cellway, "--older-than", "1h") == []
    assert leases(cellway, "--cell", "cell-2") == []
    settle = ("claims", "settle", "commit", "--reason", "it died", "--lease", lease)
    asked = cellway(*settle)
    assert (asked.returncode, "--yes" in asked.stderr) == (Exit.USAGE, True)
    dry = cellway(*settle, "--dry-run")
    assert (dry.returncode, "would be" in dry.stderr) == (0, True)
    assert leases(cellway) == [(lease, 2)]
    assert cellway(*settle, "--yes").returncode == 0
    assert topology.claims.get("route", "a").cell == "cell-1"
    assert cellway(*settle, "--yes").returncode == Exit.NOT_FOUND


def test_all_leases_of_a_cell_are_settled(cellway: Cellway, topology: Topology) -> None:
    for value in ("c", "d"):
        begin(topology, value, cell=2)
    some = cellway("claims", "leases", "--cell", "cell-2", "--limit", "1")
    assert "raise --limit (now 1)" in some.stderr
    settle = ("claims", "settle", "rollback", "--reason", "it died", "--cell", "cell-2")
    done = cellway(*settle, "--yes", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["done"]) == (0, 2), done.stderr
    assert leases(cellway) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("settle", "forget", "--reason", "r", "--lease", "x"), "write commit or rollback"),
        (("settle", "commit", "--reason", "r"), "give --lease or --cell"),
        (("settle", "commit", "--reason", "r", "--lease", "x", "--cell", "c"), "one of them"),
        (("leases", "--older-than", "soon"), "write 10m, 2h or 1d"),
    ],
)
def test_usage_errors_say_what_to_write(
    cellway: Cellway, arguments: tuple[str, ...], says: str
) -> None:
    ended = cellway("claims", *arguments)
    assert (ended.returncode, says in ended.stderr) == (Exit.USAGE, True), ended.stderr
