"""The alarm of slow work says what is slow, and goes away with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from control_plane.compiler.model import TrafficPolicy
from control_plane.publisher import publisher as module
from control_plane.publisher.edge_snapshots import EdgeSnapshots
from control_plane.publisher.publisher import Publisher
from control_plane.publisher.topology_reader import TopologyReader
from control_plane.topology import Topology
from control_plane.xds.snapshot_cache import SnapshotCache
from tests.support.conditions import until


async def alarm_of(topology: Topology, go_on: Callable[[], None]) -> str:
    """Return the alarm that a publisher raises at its start; it ends once the work goes on."""
    publisher = Publisher(
        topology,
        SnapshotCache(),
        TrafficPolicy(),
        poll_interval_s=0.05,
        on_published=lambda _, __: None,
    )
    running = asyncio.create_task(publisher.run())
    try:
        await until(lambda: publisher.alarm)
        alarm = str(publisher.alarm)
        go_on()
        await until(lambda: publisher.alarm is None)
        return alarm
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    ("owner", "method", "text"),
    [
        (TopologyReader, "read", "the database has not answered for 0.1 s"),
        (EdgeSnapshots, "of", "has been compiled for 0.1 s"),
    ],
)
async def test_the_alarm_names_the_work(
    topology: Topology, monkeypatch: pytest.MonkeyPatch, owner: type, method: str, text: str
) -> None:
    go_on = threading.Event()
    original = getattr(owner, method)

    def slow(*arguments: object, **options: object) -> object:
        go_on.wait(30)
        return original(*arguments, **options)

    monkeypatch.setattr(module, "SLOW_S", 0.1)
    monkeypatch.setattr(owner, method, slow)
    assert text in await alarm_of(topology, go_on.set)


async def test_busy_threads_are_not_taken_for_a_slow_database(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    busy = loop.run_in_executor(None, go_on.wait, 30)
    monkeypatch.setattr(module, "SLOW_S", 0.1)
    assert "no thread was free for 0.1 s" in await alarm_of(topology, go_on.set)
    assert await busy
