"""A request under a key is carried out once, however many replicas get it at the same moment."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import select, update

from control_plane.topology import Topology
from control_plane.topology.storage import idempotency, schema
from control_plane.topology.storage.idempotency import Once, Remembered, once
from control_plane.topology.values.claim import ClaimSpec, RecordSpec
from control_plane.topology.values.errors import KeyTaken, NotFound

ME = "tester"
KEYS = 25
TIMEOUT_S = 60

REPLICA = """
import json, sys
from control_plane.topology import Topology
from control_plane.topology.values.errors import TopologyError
from control_plane.topology.values.claim import RecordSpec

topology = Topology.open(sys.argv[1], migrate_first=False)
print("ready", flush=True)
sys.stdin.readline()
given = []
for number in range(int(sys.argv[2])):
    wanted = [RecordSpec("route", f"{sys.argv[3]}{number}")]
    try:
        made = topology.leases.begin(1, wanted, [], actor="r", idempotency_key=f"k{number}")
    except TopologyError as error:
        given.append(f"{type(error).__name__}: {error}")
    else:
        given.append([made.value.uuid, made.revision])
print(json.dumps(given), flush=True)
topology.close()
"""


@pytest.fixture
def other(url: str, two: Topology) -> Iterator[Topology]:
    """Another replica over the same database."""
    del two
    opened = Topology.open(url, migrate_first=False)
    yield opened
    opened.close()


def at_once(url: str, names: tuple[str, str]) -> list[list[object]]:
    """What two processes are told that begin under the same keys at the same moment."""
    with ExitStack() as stack:
        replicas = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", REPLICA, url, str(KEYS), name],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for name in names
        ]
        for replica in replicas:
            assert replica.stdout is not None
            assert replica.stdout.readline() == "ready\n"
        for replica in replicas:
            assert replica.stdin is not None
            replica.stdin.write("go\n")
            replica.stdin.flush()
        return [json.loads(replica.communicate(timeout=TIMEOUT_S)[0]) for replica in replicas]


def test_two_processes_under_the_same_keys_get_the_same_leases(url: str, two: Topology) -> None:
    first, second = at_once(url, ("r", "r"))
    assert first == second
    assert len({str(one) for one in first}) == KEYS
    assert len(two.open_leases.page(limit=1000)) == KEYS
    assert two.claims.count() == {"route": KEYS}
    begun = [one for one in two.changes.since(0) if (one.kind, one.action) == ("lease", "begin")]
    assert len(begun) == KEYS


def test_two_processes_with_other_batches_under_the_same_keys(url: str, two: Topology) -> None:
    answers = zip(*at_once(url, ("a", "b")), strict=True)
    for one, another in answers:
        refused = [text for text in (one, another) if isinstance(text, str)]
        assert len(refused) == 1, "one of them has the key"
        assert "idempotency-key: was used for another update (use a new key" in refused[0]
    assert two.claims.count() == {"route": KEYS}


def claim(topology: Topology, value: str) -> None:
    topology.claims.claim([ClaimSpec("route", value, "cell-1")], actor=ME)


def test_the_key_is_kept_with_the_write_or_not_at_all(two: Topology, other: Topology) -> None:
    request = Once("k", "f")
    with once(request), pytest.raises(NotFound):
        two.claims.claim([ClaimSpec("route", "a", "nowhere")], actor=ME)
    assert (request.written, two.idempotency.recall("k")) == (False, None)
    with once(request):
        two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME, dry_run=True)
        assert (request.written, two.idempotency.recall("k")) == (False, None)
        claim(two, "a")
        assert request.written
        claim(two, "b")
    known = Remembered("f", idempotency.PENDING, "", "", 2)
    assert other.idempotency.recall("k") == known
    late = Once("k", "f")
    with once(late), pytest.raises(KeyTaken):
        claim(other, "c")
    assert late.beaten
    assert two.claims.count() == {"route": 2}
    assert not other.idempotency.remember(late, Remembered("f", 409, "[]", "")), "it is not its key"
    assert two.idempotency.remember(request, Remembered("f", 201, "[]", "done"))
    assert other.idempotency.recall("k") == Remembered("f", 201, "[]", "done", 2)


def test_a_settlement_keeps_its_key_too(two: Topology, other: Topology) -> None:
    leases = [
        two.leases.begin(1, [RecordSpec("route", name)], [], actor=ME).value.uuid for name in "ab"
    ]
    request, late = Once("k", "f"), Once("k", "f")
    with once(request):
        two.open_leases.settle(leases[0], "committed", reason="gone", actor=ME)
    with once(late), pytest.raises(KeyTaken):
        other.open_leases.settle(leases[1], "committed", reason="gone", actor=ME)
    assert (request.written, late.beaten) == (True, True)
    assert [lease.uuid for lease in two.open_leases.page()] == [leases[1]]
    assert two.revision() == 5


def test_two_replicas_at_the_same_moment_write_once(two: Topology, other: Topology) -> None:
    def write(topology: Topology, request: Once, start: Barrier) -> None:
        start.wait()
        with once(request), suppress(KeyTaken):
            topology.sequences.allot("cell-1", 10, actor=ME)

    for number in range(KEYS):
        start = Barrier(2)
        requests = [Once(f"k{number}", "f"), Once(f"k{number}", "f")]
        threads = [
            Thread(target=write, args=(*pair, start))
            for pair in zip((two, other), requests, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(one.written for one in requests) == [False, True]
        assert sorted(one.beaten for one in requests) == [False, True]
    assert two.sequences.high_water_mark().mark == KEYS * 10


def test_an_old_key_is_free_again(two: Topology) -> None:
    with once(Once("k", "f")):
        claim(two, "a")
    table = schema.idempotency

    old = datetime.now(UTC) - idempotency.MAX_AGE - timedelta(minutes=1)
    with two.engine.connect() as connection, connection.begin():
        connection.execute(update(table).values(at=old))
    assert two.idempotency.recall("k") is None
    again = Once("k", "other")
    with once(again):
        claim(two, "b")
    assert again.written
    assert two.idempotency.recall("k") == Remembered("other", idempotency.PENDING, "", "", 3)


def test_no_more_keys_are_kept_than_the_bound(
    two: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "MAX_ROWS_OF_CALLER", 3)
    for number in range(5):
        with once(Once(f"k{number}", "f")):
            claim(two, f"r{number}")
    kept = [number for number in range(5) if two.idempotency.recall(f"k{number}") is not None]
    assert kept == [2, 3, 4]


def kept(topology: Topology) -> dict[str, list[str]]:
    """The keys of each caller, the oldest first."""
    table = schema.idempotency
    with topology.engine.connect() as connection:
        rows = connection.execute(select(table.c.caller, table.c.key).order_by(table.c.at)).all()
    return {caller: [row.key for row in rows if row.caller == caller] for caller, _ in rows}


def answer(topology: Topology, caller: str, key: str, body: str = "") -> None:
    assert topology.idempotency.remember(Once(key, "f", caller), Remembered("f", 200, "", body))


def test_a_flood_pushes_out_only_keys_of_its_caller(
    two: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "MAX_ROWS_OF_CALLER", 5)
    answer(two, "", "admin's")
    for number in range(12):
        answer(two, "flood", f"f{number}")
    assert kept(two) == {"": ["admin's"], "flood": [f"f{number}" for number in range(7, 12)]}


def test_a_caller_has_a_bound_of_bytes_too(two: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MAX_ANSWER_BYTES", 1000)
    monkeypatch.setattr(idempotency, "MAX_BYTES_OF_CALLER", 5 * (1000 + idempotency.ROW_BYTES))
    answer(two, "", "admin's", "x" * 1000)
    for number in range(12):
        answer(two, "flood", f"f{number}", "x" * 1000)
    found = kept(two)
    assert found[""] == ["admin's"]
    assert found["flood"][-1] == "f11"
    assert 3 <= len(found["flood"]) <= 5


@pytest.mark.parametrize("seed", range(3))
def test_who_has_the_most_makes_room_for_all(
    two: Topology, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Random callers write: the bounds hold, and no caller with the least loses a key."""
    size = idempotency.ROW_BYTES
    monkeypatch.setattr(idempotency, "CHECK_TOTAL_EVERY", 1)
    monkeypatch.setattr(idempotency, "MAX_BYTES_OF_ALL", 20 * size)
    monkeypatch.setattr(idempotency, "MAX_ROWS_OF_CALLER", 15)
    choose = random.Random(seed)
    written: dict[str, list[str]] = {"quiet": ["q0", "q1"]}
    for key in written["quiet"]:
        answer(two, "quiet", key)
    for number in range(60):
        caller = choose.choice(["a", "b", "b", "b", "c"])
        written.setdefault(caller, []).append(f"{caller}{number}")
        answer(two, caller, f"{caller}{number}")
        found = kept(two)
        assert sum(map(len, found.values())) <= 21
        assert all(len(keys) <= 15 for keys in found.values())
        for who, keys in found.items():
            assert keys == written[who][-len(keys) :], "only the oldest are forgotten"
    assert kept(two)["quiet"] == written["quiet"]
