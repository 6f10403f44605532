"""Many processes at once, and kill -9 of them and of the database: the history is checked."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.topology import Topology
from control_plane.topology.values.change import Change
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.errors import Unavailable
from tests.support.postgres import postgres
from tests.topology.conftest import cell_spec
from tests.topology.fighter import CELLS

TIMEOUT_S = 90


@contextlib.contextmanager
def fighting(
    url: str, directory: Path, children: int, names: int, seconds: float
) -> Iterator[list[int]]:
    """Runs fighters; yields their process ids, and waits for them in the end."""
    arguments = [url, str(directory), str(children), str(names), str(seconds)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.topology.fighter", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == children
    try:
        yield pids
        process.wait(TIMEOUT_S)
    finally:
        process.stdout.close()
        if process.poll() is None:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(TIMEOUT_S)


def prepared(url: str) -> Topology:
    topology = Topology.open(url)
    for number in range(1, CELLS + 1):
        topology.cells.create(cell_spec(number), actor="test")
    return topology


def told(directory: Path) -> list[dict[str, Any]]:
    lines = [line for file in directory.iterdir() for line in file.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def whole_feed(topology: Topology) -> list[Change]:
    found: list[Change] = []
    while page := topology.changes.since(found[-1].revision if found else 0):
        found += page
    return found


def check(topology: Topology, events: list[dict[str, Any]]) -> Counter[str]:
    """The history is one that the protocol allows, and holds all that was acknowledged."""
    feed = whole_feed(topology)
    revisions = sorted({change.revision for change in feed})
    assert revisions == list(range(1, topology.revision() + 1)), "no gap, none twice"
    steps = [change for change in feed if change.kind == "lease"]
    verb = {"begin": "begun", "commit": "committed", "rollback": "rolled back"}
    done = {(verb[c.action], c.key): c.revision for c in steps}
    assert len(done) == len(steps), "no step of a lease was made twice"
    for event in events:
        if "lease" in event:
            assert done[event["event"], event["lease"]] == event["revision"]
    settled = [lease for event, lease in done if event in {"committed", "rolled back"}]
    assert len(set(settled)) == len(settled), "no lease was settled both ways"
    assert {one.uuid for one in topology.open_leases.page(limit=1000)} == {
        lease for event, lease in done if event == "begun"
    } - set(settled)
    _batches_are_whole(feed)
    _one_owner(topology, feed)
    return Counter(event["event"] for event in events)


def _batches_are_whole(feed: list[Change]) -> None:
    creates = Counter(c.revision for c in feed if c.kind == "claim" and c.action == "create")
    for change in feed:
        if change.kind == "lease" and change.action == "begin":
            assert change.after is not None
            assert creates[change.revision] == change.after["creates"]


def _one_owner(topology: Topology, feed: list[Change]) -> None:
    owner: dict[str, int] = {}
    for change in feed:
        if change.kind == "claim" and change.action == "create":
            assert change.key not in owner, "made while it was there"
            assert change.after is not None
            owner[change.key] = change.after["cell_id"]
        elif change.kind == "claim" and change.action == "delete":
            assert change.before is not None
            assert owner.pop(change.key) == change.before["cell_id"]
    found: dict[str, int] = {}
    after = None
    while page := topology.claims.page(after=after, limit=1000):
        found |= {f"{one.bucket}:{one.value}": one.cell_id for one in page}
        after = (page[-1].bucket, page[-1].value)
    assert found == owner


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_sixteen_processes_fight_for_the_same_names(url: str, tmp_path: Path) -> None:
    topology = prepared(url)
    directory = tmp_path / "told"
    directory.mkdir()
    with fighting(url, directory, 16, 1000, 5.0):
        pass
    seen = check(topology, told(directory))
    assert seen["done"] == 16
    assert min(seen["committed"], seen["refused"], seen["rolled back"]) > 0, "it was a fight"
    topology.close()


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
def test_writers_are_killed_at_random(url: str, tmp_path: Path) -> None:
    topology = prepared(url)
    chance = random.Random(7)
    directory = tmp_path / "told"
    directory.mkdir()
    with fighting(url, directory, 6, 200, 4.0) as pids:
        for pid in pids[:4]:
            time.sleep(chance.uniform(0.2, 0.8))
            os.kill(pid, signal.SIGKILL)
    seen = check(topology, told(directory))
    assert seen["done"] == 2, "the others went on"
    assert seen["committed"] > 0
    topology.close()


def test_postgresql_is_killed_at_random(tmp_path: Path) -> None:
    chance = random.Random(11)
    directory = tmp_path / "told"
    directory.mkdir()
    with postgres() as server:
        url = server.url()
        topology = prepared(url)
        lookup = topology.claim_lookup()
        with fighting(url, directory, 6, 200, 5.0):
            for _ in range(3):
                time.sleep(chance.uniform(0.3, 1.0))
                server.kill()
                with pytest.raises(Unavailable):
                    lookup.owner_ids_of([("route", "r1")])
                server.start()
        seen = check(topology, told(directory))
        assert seen["done"] == 6, "every writer found the database again"
        assert seen["committed"] > 0
        assert lookup.changed(), "and so did the look-up"
        assert lookup.owner_ids_of([("route", "never")]) == [None]
        server.kill()
        with pytest.raises(Unavailable):
            topology.revision()
        with pytest.raises(Unavailable):
            topology.claims.claim([ClaimSpec("route", "x", "cell-1")], actor="test")
        server.start()
        topology.claims.claim([ClaimSpec("route", "x", "cell-1")], actor="test")
        lookup.close()
        topology.close()
