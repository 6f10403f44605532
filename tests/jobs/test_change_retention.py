"""Old changes are forgotten in the background, archived first if so wished."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.jobs import change_retention
from control_plane.jobs.change_retention import ChangeRetention, RetentionPolicy
from control_plane.server import changes_kept
from control_plane.settings import Settings
from control_plane.topology import Topology, changes
from control_plane.topology.values.cell import CellSpec, CellState
from control_plane.topology.values.endpoint import Endpoint


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    made = Topology.open(f"sqlite:///{tmp_path}/t.db")
    for number in range(1, 11):
        spec = CellSpec(f"c{number}", f"c{number}.example", (Endpoint("10.0.0.1", 1),))
        made.cells.create(spec, actor="test")
    yield made
    made.close()


def test_the_defaults_are_generous() -> None:
    kept = changes_kept(Settings())
    assert (kept.days, kept.revisions, kept.archive) == (90, 100_000_000, None)


async def test_a_round_forgets_step_by_step(
    topology: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "PRUNE_ROWS", 3)
    everything = [change.as_dict() for change in topology.changes.since(0)]
    archive = tmp_path / "old.jsonl"
    assert await ChangeRetention(topology, RetentionPolicy(0, 2, archive)).round() == 8
    assert topology.changes.oldest() == 8
    assert [json.loads(line) for line in archive.read_text().splitlines()] == everything[:8]
    assert await ChangeRetention(topology, RetentionPolicy(0, 1, archive)).round() == 1
    assert len(archive.read_text().splitlines()) == 9, "it is appended to"
    assert await ChangeRetention(topology, RetentionPolicy(90, 1)).round() == 0


async def test_it_goes_on_after_a_failure(
    topology: Topology,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(change_retention, "FIRST_S", 0)
    monkeypatch.setattr(change_retention, "INTERVAL_S", 0.01)
    archive = tmp_path / "later" / "old.jsonl"
    task = asyncio.create_task(ChangeRetention(topology, RetentionPolicy(0, 2, archive)).run())
    with caplog.at_level(logging.ERROR):
        async with asyncio.timeout(20):
            while not caplog.records:
                await asyncio.sleep(0.01)
            assert topology.changes.oldest() == 0, "what can't be archived stays"
            archive.parent.mkdir()
            while topology.changes.oldest() < 8:
                await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "old changes could not be deleted" in caplog.text


async def test_without_a_bound_it_has_nothing_to_do(topology: Topology) -> None:
    await asyncio.wait_for(ChangeRetention(topology, RetentionPolicy(0, 0)).run(), 10)
    assert topology.changes.oldest() == 0
    assert topology.cells.set_state("c1", CellState.ACTIVE, actor="t").revision == 11
