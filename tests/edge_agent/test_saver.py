"""The newest acknowledged state gets to disk: once, and again if the disk would not have it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from control_plane.edge_agent import saver as module
from control_plane.edge_agent.metrics import AgentMetrics
from control_plane.edge_agent.saved_snapshot import SavedSnapshot
from control_plane.edge_agent.saver import Saver
from control_plane.edge_agent.store import SnapshotStore
from control_plane.process.background import background_tasks
from tests.edge_agent.snapshot_files import saved
from tests.support.conditions import until


class Disk(SnapshotStore):
    """A store that notes what is saved, and can be full."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.full = False
        self.saved: list[int] = []

    def save(self, snapshot: SavedSnapshot) -> Path:
        if self.full:
            raise OSError("no space left on device")
        path = super().save(snapshot)
        self.saved.append(snapshot.revision)
        return path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    store = Disk(tmp_path)
    yield store
    store.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL_S", 0.001)
    monkeypatch.setattr(module, "RETRY_S", 0.001)


@contextlib.asynccontextmanager
async def running(saver: Saver) -> AsyncIterator[None]:
    task = asyncio.create_task(saver.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def value(metrics: AgentMetrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(f"cellway_agent_{name}")


async def test_only_the_newest_of_what_is_offered_at_once_is_written(disk: Disk) -> None:
    metrics = AgentMetrics()
    saver = Saver(disk, metrics)
    for revision in (1, 2, 3):
        saver.offer(lambda revision=revision: saved(revision))  # type: ignore[misc]
    async with running(saver):
        await until(lambda: disk.saved == [3])
    assert value(metrics, "snapshot_revision") == 3
    assert value(metrics, "snapshot_unsaved") == 0


async def test_what_is_on_disk_already_or_not_fit_is_not_written(disk: Disk) -> None:
    saver = Saver(disk, AgentMetrics())
    saver.offer(lambda: saved(1, "cell:a"))
    await saver.finish()
    saver.offer(lambda: saved(2, "cell:a"))
    await saver.finish()
    saver.offer(lambda: None)
    await saver.finish()
    await saver.finish()
    assert disk.saved == [1]


async def test_a_write_that_fails_is_counted_and_tried_again(disk: Disk) -> None:
    metrics = AgentMetrics()
    saver = Saver(disk, metrics)
    disk.full = True
    saver.offer(lambda: saved(7))
    async with running(saver):
        await until(lambda: (value(metrics, "snapshot_save_failures_total") or 0) > 1)
        assert value(metrics, "snapshot_unsaved") == 1
        disk.full = False
        await until(lambda: disk.saved == [7])
    assert value(metrics, "snapshot_unsaved") == 0


async def test_what_was_not_foreseen_starts_the_saver_again_and_loses_nothing(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    metrics, calls = AgentMetrics(), 0

    def newest() -> SavedSnapshot:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise RuntimeError("a bug")
        return saved(7)

    saver = Saver(disk, metrics)
    saver.offer(newest)
    async with background_tasks(metrics) as tasks:
        tasks.start("saver", saver.run)
        await until(lambda: disk.saved == [7])
    name = "cellway_background_restarts_total"
    assert metrics.registry.get_sample_value(name, {"task": "saver"}) == 2
    assert value(metrics, "snapshot_unsaved") == 0
    calls = 0
    saver.offer(newest)
    await saver.finish()
    assert "what Envoy has acknowledged last is not on disk" in caplog.text


async def test_an_older_revision_is_counted_and_given_up(disk: Disk) -> None:
    metrics = AgentMetrics()
    saver = Saver(disk, metrics)
    disk.save(saved(9))
    saver.offer(lambda: saved(8))
    await saver.finish()
    await saver.finish()
    assert disk.saved == [9]
    assert value(metrics, "older_refused_total") == 1
