"""Writes that wait together go in together, and each has its own success or failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from control_plane.topology import Topology
from control_plane.topology.storage import group_commit
from control_plane.topology.storage.postgresql import CHANNEL
from control_plane.topology.storage.statements import Statement
from control_plane.topology.storage.store import Store
from control_plane.topology.values.claim import RecordSpec
from control_plane.topology.values.errors import AlreadyExists, NotFound, TopologyError

GENEROUS_S = 30.0


def begin(topology: Topology, *names: str, key: str | None = None) -> tuple[int, str]:
    specs = [RecordSpec("route", name) for name in names]
    done = topology.leases.begin(1, specs, [], actor="m", idempotency_key=key)
    return done.revision, done.value.uuid


def together(topology: Topology, calls: list[Callable[[], Any]]) -> list[Future[Any]]:
    """Have the calls wait in this order, then let them go."""
    futures: list[Future[Any]] = []
    writers = topology._store._writers
    with ThreadPoolExecutor(len(calls)) as pool, writers.exclusive():
        for call in calls:
            waiting = writers.length
            futures.append(pool.submit(call))
            deadline = time.monotonic() + GENEROUS_S
            while writers.length == waiting:
                assert time.monotonic() < deadline
                time.sleep(0.001)
    return futures


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of jobs of each transaction."""
    seen: list[int] = []
    real = group_commit.run_jobs

    def counting(jobs: Any, connection: Any) -> Any:
        seen.append(len(jobs))
        return real(jobs, connection)

    monkeypatch.setattr("control_plane.topology.storage.store.run_jobs", counting)
    return seen


def test_each_write_of_a_group_has_its_own_outcome(two: Topology, transactions: list[int]) -> None:
    begin(two, "taken")
    first = begin(two, "first", key="k")
    transactions.clear()
    hints: list[int] = []
    stop = two.subscribe(hints.append)
    futures = together(
        two,
        [
            lambda: begin(two, "a"),
            lambda: begin(two, "x", "taken"),
            lambda: begin(two, "b"),
            lambda: begin(two, "first", key="k"),
            lambda: two.leases.commit(1, first[1], actor="m"),
            lambda: two.leases.commit(1, "no such lease", actor="m"),
            lambda: begin(two, "A"),
        ],
    )
    stop()
    # Whoever gets the lock first runs its own and what stands before the others.
    assert sum(transactions) == 7
    assert len(transactions) <= 2
    failures = [type(one.exception()) for one in futures if one.exception()]
    assert sorted(kind.__name__ for kind in failures) == [
        "AlreadyExists",
        "AlreadyExists",
        "NotFound",
    ]
    assert isinstance(futures[1].exception(), AlreadyExists)
    assert isinstance(futures[5].exception(), NotFound)
    # The commit goes first, so this one finds the lease as it was settled.
    assert futures[3].result() == (futures[4].result(), first[1])
    winners = [one for one in (futures[0], futures[6]) if one.exception() is None]
    assert len(winners) == 1
    made = sorted([winners[0].result()[0], futures[2].result()[0], futures[4].result()])
    assert made == [5, 6, 7] == hints
    assert two.revision() == 7
    assert [c.revision for c in two.changes.since(4) if c.kind == "lease"] == [5, 6, 7]
    assert two.claims.owners_of([("route", n) for n in ("a", "b", "x")]) == [1, 1, None]


def test_a_group_is_bounded(two: Topology, transactions: list[int]) -> None:
    calls = [partial(begin, two, f"r{n}") for n in range(80)]
    futures = together(two, calls)
    assert sorted(one.result()[0] for one in futures) == list(range(3, 83))
    assert max(transactions) <= group_commit.MAX_JOBS
    assert sum(transactions) == 80
    assert len(transactions) < 80 / 4


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of statements of each round trip that a group itself makes."""
    seen: list[int] = []
    real = group_commit.execute

    def counting(connection: Any, statements: Any) -> Any:
        seen.append(len(statements))
        return real(connection, statements)

    monkeypatch.setattr(group_commit, "execute", counting)
    return seen


def test_a_group_of_plain_writes_is_one_round_trip_on_a_server(
    two: Topology, round_trips: list[int]
) -> None:
    _, lease = begin(two, "open")
    round_trips.clear()
    calls = [partial(begin, two, f"r{n}") for n in range(7)]
    futures = together(two, [*calls, lambda: two.leases.commit(1, lease, actor="m")])
    assert all(one.exception() is None for one in futures)
    assert [c.revision for c in two.changes.since(3) if c.kind == "lease"] == list(range(4, 12))
    if two._store.engine.dialect.name == "postgresql":
        # Whoever gets the lock first may run its own alone.
        assert len(round_trips) <= 2
    else:
        assert len(round_trips) == 8


def test_writes_that_are_not_plain_leave_the_others_theirs(two: Topology) -> None:
    """Later ones were sent along with what is undone: they must not see anything of it."""
    lease = two.leases.begin(1, [RecordSpec("route", "old")], [], actor="m").value.uuid
    two.leases.commit(1, lease, actor="m")
    going = two.leases.begin(1, [], [RecordSpec("route", "old")], actor="m").value.uuid
    dropped = begin(two, "dropped")[1]
    before = two.revision()
    futures = together(
        two,
        [
            # It fails, but has made "wanted" before that is known.
            lambda: begin(two, "wanted", "dropped"),
            lambda: begin(two, "wanted"),
            lambda: two.leases.commit(1, going, actor="m"),
            lambda: two.leases.roll_back(1, dropped, actor="m"),
            *(partial(begin, two, f"r{n}") for n in range(5)),
        ],
    )
    assert isinstance(futures[1].exception(), AlreadyExists | None)
    made = [one.result() for one in futures[2:]]
    wins = [one for one in futures[:2] if one.exception() is None]
    assert len(wins) == 1
    steps = [c for c in two.changes.since(before) if c.kind == "lease"]
    assert [c.revision for c in steps] == list(range(before + 1, before + 9))
    numbers = [one if isinstance(one, int) else one[0] for one in (*made, wins[0].result())]
    assert sorted(numbers) == list(range(before + 1, before + 9))
    gone = {c.key: c.revision for c in two.changes.since(before) if c.action == "delete"}
    assert gone == {"route:old": made[0], "route:dropped": made[1]}
    owned = two.claims.owners_of(
        [("route", n) for n in ("old", "wanted", *(f"r{n}" for n in range(5)))]
    )
    assert owned == [None, *[1] * 6]


def test_writes_of_one_thread_go_together_each_with_its_own_result(
    two: Topology, transactions: list[int]
) -> None:
    _, lease = begin(two, "open")
    _, other = begin(two, "other")
    transactions.clear()
    before = two.revision()

    def wanted(*names: str) -> group_commit.Write[Any]:
        return two.leases.beginning(1, [RecordSpec("route", name) for name in names], [], actor="m")

    jobs = two.leases.carry_out(
        [
            wanted("a", "open"),
            wanted("b"),
            two.leases.settling(1, other, "rolled back", actor="m"),
            two.leases.settling(1, lease, "committed", actor="m"),
            wanted("c"),
        ]
    )
    with pytest.raises(AlreadyExists):
        jobs[0].result()
    assert sum(transactions) == 5
    assert len(transactions) == 1
    numbers = [jobs[1].result().revision, jobs[2].result(), jobs[3].result()]
    numbers.append(jobs[4].result().revision)
    assert sorted(numbers) == list(range(before + 1, before + 5))
    assert two.claims.owners_of([("route", n) for n in ("a", "b", "other", "open", "c")]) == [
        None,
        1,
        None,
        1,
        1,
    ]
    assert two.leases.carry_out([]) == []


def test_more_than_a_group_from_many_threads_at_once(two: Topology) -> None:
    def work(number: int) -> list[int]:
        writes = [
            two.leases.beginning(1, [RecordSpec("route", f"{number}-{n}")], [], actor="m")
            for n in range(40)
        ]
        return [job.result().revision for job in two.leases.carry_out(writes)]

    before = two.revision()
    with ThreadPoolExecutor(4) as pool:
        numbers = [one for part in pool.map(work, range(4)) for one in part]
    assert sorted(numbers) == list(range(before + 1, before + 161))
    assert len(two.open_leases.page(1, limit=200)) == 160


def test_a_group_wakes_other_processes_once(two: Topology, url: str, engine: str) -> None:
    begin(two, "first")
    writes = [
        two.leases.beginning(1, [RecordSpec("route", f"r{n}")], [], actor="m") for n in range(9)
    ]
    if engine == "sqlite":
        two.leases.carry_out(writes)
        assert two.revision() == 12
        return
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(f"LISTEN {CHANNEL}")
        two.leases.carry_out(writes)
        two.leases.carry_out([two.leases.settling(1, a_lease(two), "rolled back", actor="m")])
        heard = list(other.notifies(timeout=GENEROUS_S, stop_after=2))
    assert [int(one.payload) for one in heard] == [12, 13]


def a_lease(topology: Topology) -> str:
    return topology.open_leases.page(1)[0].uuid


def test_a_failed_transaction_fails_each_write_of_it(
    two: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise TopologyError("the disk is full")

    monkeypatch.setattr(Store, "_transact", broken)
    futures = together(two, [partial(begin, two, f"r{n}") for n in range(5)])
    assert {str(one.exception()) for one in futures} == {"the disk is full"}
    monkeypatch.undo()
    assert begin(two, "r0")[0] == 3


def test_a_statement_that_fails_undoes_its_write_only(two: Topology) -> None:
    store = two._store

    def bad() -> None:
        wrong = Statement("INSERT INTO cells (id) VALUES (?)", (9,))
        store.write_statements(group_commit.Write([wrong], _none, "m"))

    futures = together(two, [lambda: begin(two, "a"), bad, lambda: begin(two, "b"), bad])
    assert [one.exception() is None for one in futures] == [True, False, True, False]
    assert two.revision() == 4
    with store.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM cells")).scalar() == 2


def _none(*_: object) -> None:
    return None


def test_many_threads_at_once(two: Topology) -> None:
    """No order is forced here: whatever happens, each name is made once and all is accounted for."""
    won: list[str] = []
    lock = threading.Lock()

    def work(number: int) -> None:
        for name in range(12):
            try:
                _, lease = begin(two, f"r{name}")
            except AlreadyExists:
                continue
            if number % 3 == 0:
                two.leases.roll_back(1, lease, actor="m")
                continue
            two.leases.commit(1, lease, actor="m")
            with lock:
                won.append(f"r{name}")

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(12)))
    assert len(won) == len(set(won))
    assert sorted(claim.value for claim in two.claims.page()) == sorted(won)
    assert two.open_leases.page() == []
