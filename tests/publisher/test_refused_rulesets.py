"""A stored ruleset that can't be compiled: it is left out, and all else goes on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from control_plane.compiler.edge import EdgeCompiler
from control_plane.compiler.model import TrafficPolicy
from control_plane.publisher.publisher import Publisher
from control_plane.topology import Topology
from control_plane.xds.snapshot_cache import SnapshotCache
from tests.support.plane import RULESET

NESTED = "^" + "(" * 950 + "a" + ")" * 950
RULE = {"id": "a", "match": {"type": "path", "regexValue": NESTED}, "action": "proxy"}
UNUSABLE = [json.dumps({"rules": [RULE]}), '{"rules": NaN}', "no JSON", "[" * 100_000, "{}"]


def publishing(topology: Topology, cache: SnapshotCache) -> Publisher:
    return Publisher(
        topology, cache, TrafficPolicy(), poll_interval_s=0.01, on_published=lambda *_: None
    )


def why(publisher: Publisher) -> str | None:
    return publisher.alarm


def store(topology: Topology, name: str, document: str) -> None:
    """Store and activate a document, as a program without our checks would."""
    version = topology.rulesets.put(name, document, actor="t").value.version
    topology.rulesets.activate(name, version, actor="t")


@pytest.mark.parametrize("document", UNUSABLE)
def test_the_last_good_publication_stays_until_the_ruleset_is_mended(
    topology: Topology, document: str
) -> None:
    cache = SnapshotCache()
    publisher = publishing(topology, cache)
    publisher.publish()
    good = cache.newest
    store(topology, "bad", document)
    publisher.publish()
    assert cache.newest is good
    assert publisher.alarm is not None
    assert publisher.alarm.startswith("the active ruleset bad@1 can't be compiled: RulesetError: ")
    assert len(publisher.alarm) < 1000
    store(topology, "good", RULESET)
    publisher.publish()
    assert why(publisher) is None
    assert cache.newest.revision > good.revision
    fresh = SnapshotCache()
    publishing(topology, fresh).publish()
    assert not any(cache.newest.changed(fresh.newest).values()), "nothing is left of the failure"


def test_a_publisher_that_starts_with_such_a_ruleset_publishes_nothing(topology: Topology) -> None:
    store(topology, "bad", UNUSABLE[0])
    cache = SnapshotCache()
    publisher = publishing(topology, cache)
    publisher.publish()
    assert publisher.alarm is not None
    assert cache.newest.revision == 0


@pytest.mark.parametrize("error", [RecursionError("too deep"), MemoryError(), ValueError("x")])
async def test_whatever_the_compiler_fails_with_the_publisher_goes_on(
    topology: Topology, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    cache = SnapshotCache()
    publisher = publishing(topology, cache)
    publisher.publish()
    before = cache.newest.revision
    running = asyncio.create_task(publisher.run())
    with monkeypatch.context() as broken:
        broken.setattr(EdgeCompiler, "update", fail)
        store(topology, "r2", RULESET)
        await until(lambda: publisher.alarm is not None)
        assert f"r2@1 can't be compiled: {type(error).__name__}" in str(publisher.alarm)
        assert cache.newest.revision == before
    store(topology, "r3", RULESET)
    await until(lambda: publisher.alarm is None)
    assert cache.newest.revision > before
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def until(holds: Any) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)
