"""The commands of operators, against a real server: what they print and how they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.cli.client import Exit
from control_plane.topology import Topology
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.claim import RecordSpec
from tests.cli.cellway_command import Cellway
from tests.support.rest_server import serving
from tests.topology.conftest import cell_spec


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    opened = Topology.open(f"sqlite:///{tmp_path}/api.db")
    for number in (1, 2):
        opened.cells.create(cell_spec(number), actor="test")
    yield opened
    opened.close()


@pytest.fixture
def cellway(tmp_path: Path, topology: Topology) -> Iterator[Cellway]:
    with serving(tmp_path) as client:
        yield Cellway(str(client.base_url))


def test_an_operators_day(cellway: Cellway, topology: Topology) -> None:
    specs = [RecordSpec("route", name, 3, 7) for name in "abc"]
    lease = topology.leases.begin(1, specs, [], actor="cell-1").value.uuid
    listed = json.loads(cellway("claims", "leases", "-o", "json").stdout)
    assert [(one["lease"], one["creating"]) for one in listed] == [(lease, 3)]
    assert json.loads(cellway("claims", "leases", "--older-than", "1h", "-o", "json").stdout) == []
    settle = ("claims", "settle", "commit", "--reason", "it died", "--lease", lease)
    asked = cellway(*settle, "--no-input")
    assert (asked.returncode, "--yes" in asked.stderr) == (Exit.USAGE, True)
    assert cellway(*settle, "--dry-run").returncode == 0
    assert len(topology.open_leases.page()) == 1
    assert cellway(*settle, "--yes").returncode == 0
    assert cellway(*settle, "--yes").returncode == Exit.NOT_FOUND
    move = (
        "claims",
        "transfer",
        "project:7",
        "--from",
        "cell-1",
        "--to",
        "cell-2",
        "--reason",
        "r",
    )
    told = json.loads(cellway(*move, "-n", "-o", "json").stdout)
    assert (told["moved"], told["dry_run"]) == (3, True)
    assert cellway(*move, "--yes", "--wait").returncode == 0
    assert topology.claims.get("route", "a").cell == "cell-2"
    assert cellway(*move, "--yes").returncode == Exit.NOT_FOUND
    empty = ("claims", "release-all", "cell-2", "--reason", "gone")
    assert cellway(*empty, "--yes").returncode == Exit.REFUSED
    topology.cells.set_state("cell-2", CellState.RETIRED, actor="test", force=True)
    done = cellway(*empty, "--yes", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["state"], json.loads(done.stdout)["done"]) == ("done", 3)
    operation = json.loads(cellway("operations", "list", "-o", "json").stdout)[0]
    shown = cellway("operations", "get", operation["id"], "-o", "yaml")
    assert "state: done" in shown.stdout
    audit = cellway("audit", "route:A", "-o", "json")
    assert [one["action"] for one in json.loads(audit.stdout) if one["kind"] == "claim"] == [
        "delete", "move", "create",
    ]  # fmt: skip
    assert "cell-2" in cellway("audit", "--kind", "cell").stdout


def test_sequences(cellway: Cellway, topology: Topology) -> None:
    made = cellway("cells", "sequences", "allot", "cell-1", "--size", "100", "-o", "json")
    assert json.loads(made.stdout)["range"] == {"minval": 1, "maxval": 100}
    assert cellway("cells", "sequences", "report", "cell-1", "95").returncode == 0
    listed = cellway("cells", "sequences", "list")
    assert "95.0%" in listed.stdout
    assert "ALLOT MORE" in listed.stdout
    shown = json.loads(cellway("cells", "sequences", "show", "cell-1", "-o", "json").stdout)
    assert (shown["used"], shown["alarming"]) == (95, True)
    assert cellway("cells", "sequences", "confirm", "--yes").returncode == Exit.REFUSED
    stale = cellway("cells", "sequences", "allot", "cell-1", "--if-match", '"1"')
    assert stale.returncode == Exit.CONFLICT


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("claims", "settle", "forget", "--reason", "r", "--lease", "x"), "commit or rollback"),
        (("claims", "settle", "commit", "--reason", "r"), "--lease or --cell"),
        (("claims", "leases", "--older-than", "soon"), "10m"),
        (("audit", "nonsense"), "bucket:value"),
    ],
)
def test_usage_errors_say_what_to_write(
    cellway: Cellway, arguments: tuple[str, ...], says: str
) -> None:
    ended = cellway(*arguments)
    assert ended.returncode == Exit.USAGE, ended.stderr
    assert says in ended.stderr


def test_old_changes_are_forgotten_on_demand(
    cellway: Cellway, topology: Topology, tmp_path: Path
) -> None:
    for number in range(8):
        topology.cells.set_health("cell-1", healthy=bool(number % 2), actor="health")
    everything = [change.as_dict() for change in topology.changes.since(0)]
    assert json.loads(cellway("changes", "-o", "json").stdout) == everything
    archive = tmp_path / "old.jsonl"
    url = ("--database-url", f"sqlite:///{tmp_path}/api.db")
    prune = ("db", "prune", *url, "--keep-revisions", "4", "-o", "json")
    asked = cellway(*prune, "--no-input")
    assert (asked.returncode, "--yes" in asked.stderr) == (Exit.USAGE, True)
    told = json.loads(cellway(*prune, "--dry-run").stdout)
    assert told == {"dry_run": True, "forgotten": 6, "oldest": 6}
    assert topology.changes.since(0)
    lost = cellway(*prune, "--yes", "--archive", str(tmp_path / "no" / "where"))
    assert (lost.returncode, "the archive" in lost.stderr) == (Exit.ERROR, True)
    assert topology.changes.oldest() == 0
    done = cellway(*prune, "--yes", "--archive", str(archive))
    assert json.loads(done.stdout) == {"dry_run": False, "forgotten": 6, "oldest": 6}, done.stderr
    assert [json.loads(line) for line in archive.read_text().splitlines()] == everything[:6]
    assert json.loads(cellway("changes", "-o", "json").stdout) == everything[6:]
    late = cellway("changes", "--since", "3")
    assert (late.returncode, "revision 6 are no longer kept" in late.stderr) == (Exit.ERROR, True)
    audit = cellway("audit")
    assert "what was up to revision 6 is no longer kept" in audit.stderr
