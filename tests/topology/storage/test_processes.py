"""Several processes on one database file, and one that is killed while it writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from control_plane.topology import Topology
from control_plane.topology.values.cell import CellSpec, CellState
from control_plane.topology.values.endpoint import Endpoint

WRITER = """
import sys
from control_plane.topology import Topology
from control_plane.topology.values.errors import AlreadyExists
from control_plane.topology.values.claim import ClaimSpec

url, cell, first, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
topology = Topology.open(url, migrate_first=False)
for number in range(first, first + count):
    pair = [ClaimSpec("route", f"r{number}", cell), ClaimSpec("username", f"u{number}", cell)]
    try:
        topology.claims.claim(pair, actor=cell)
    except AlreadyExists:
        continue
    print(number, flush=True)
"""
TIMEOUT_S = 60


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = f"sqlite:///{tmp_path}/shared.db"
    topology = Topology.open(made)
    for number in range(1, 5):
        topology.cells.create(
            CellSpec(
                f"cell-{number}",
                f"cell-{number}.example",
                (Endpoint("10.0.0.1", 1),),
                state=CellState.ACTIVE,
            ),
            actor="test",
        )
    topology.close()
    return made


def start(url: str, cell: str, first: int, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url, cell, str(first), str(count)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_processes_that_fight_for_names_each_win_once(url: str) -> None:
    writers = {f"cell-{n}": start(url, f"cell-{n}", 0, 60) for n in range(1, 5)}
    won = {
        cell: writer.communicate(timeout=TIMEOUT_S)[0].split() for cell, writer in writers.items()
    }
    claimed = [number for numbers in won.values() for number in numbers]
    assert sorted(claimed) == sorted(str(n) for n in range(60))
    topology = Topology.open(url)
    for cell, numbers in won.items():
        for number in numbers:
            assert topology.claims.get("route", f"r{number}").cell == cell
            assert topology.claims.get("username", f"u{number}").cell == cell
    revisions = [change.revision for change in topology.changes.since(0)]
    assert sorted(set(revisions)) == list(range(1, 4 + 60 + 1))
    assert revisions == sorted(revisions)
    topology.close()


def test_a_commit_of_another_process_is_seen_at_once(url: str) -> None:
    topology = Topology.open(url)
    lookup = topology.claim_lookup()
    assert lookup.changed() is False
    assert start(url, "cell-1", 7, 1).communicate(timeout=TIMEOUT_S)[0].split() == ["7"]
    assert lookup.changed() is True
    assert lookup.owner_ids_of([("route", "R7"), ("route", "r8")]) == [1, None]
    assert lookup.changed() is False
    lookup.close()
    topology.close()


def test_what_was_acknowledged_survives_kill_9_and_nothing_is_half_done(url: str) -> None:
    for attempt in range(3):
        writer = start(url, "cell-1", attempt * 1000, 1000)
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(5 + attempt * 7)]
        writer.kill()
        acknowledged += writer.stdout.read().split()
        writer.wait(TIMEOUT_S)
        writer.stdout.close()
        topology = Topology.open(url)
        for number in acknowledged:
            assert topology.claims.get("route", f"r{number}").cell == "cell-1"
        counts = topology.claims.count()
        assert counts["route"] == counts["username"], "a batch is all or nothing"
        newest = topology.changes.since(0)[-1].revision
        assert newest == topology.revision()
        topology.close()
