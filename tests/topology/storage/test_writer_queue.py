"""Whoever gets the writer's lock writes for those that wait; no write is lost or done twice."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.topology.storage.group_commit import MAX_JOBS, MAX_STATEMENTS, Job, Write
from control_plane.topology.storage.statements import Statement
from control_plane.topology.storage.writer_queue import WriterQueue, enqueue, head_of


def _finish(*_: object) -> None:
    return None


def job(name: str, *, ahead: bool = False, statements: int = 0) -> Job[None]:
    return Job(Write([Statement("x")] * statements, _finish, name, ahead))


class Groups:
    """Runs groups, and notes the names of each."""

    def __init__(self) -> None:
        self.names: list[list[str]] = []
        self.threads = 0

    def run(self, group: Sequence[Job[Any]]) -> None:
        self.threads += 1
        assert self.threads == 1, "one thread at a time"
        self.names.append([one.write.actor for one in group])
        for one in group:
            one.succeed()
        self.threads -= 1


@given(st.lists(st.booleans(), max_size=70))
def test_what_goes_ahead_does_so_in_its_order_and_none_is_lost(ahead: list[bool]) -> None:
    queue: list[Job[Any]] = []
    for number, first in enumerate(ahead):
        enqueue(queue, job(str(number), ahead=first))
    numbers = [int(one.write.actor) for one in queue]
    assert numbers == sorted(range(len(ahead)), key=lambda number: (not ahead[number], number))
    assert list(head_of(queue, 1)) == queue[: MAX_JOBS - 1]


def test_a_group_ends_before_it_has_too_many_statements() -> None:
    queue = [job("a", statements=100), job("b", statements=MAX_STATEMENTS - 101), job("c")]
    assert [one.write.actor for one in head_of(queue, 1)] == ["a", "b", "c"]
    assert [one.write.actor for one in head_of(queue, 2)] == ["a"]


def test_a_write_that_is_larger_than_a_group_goes_alone() -> None:
    groups = Groups()
    large = job("large", statements=MAX_STATEMENTS + 1).write
    WriterQueue(groups.run).carry_out([large, job("b").write])
    assert groups.names == [["large"], ["b"]]


def test_nothing_to_write_takes_no_turn() -> None:
    groups = Groups()
    assert WriterQueue(groups.run).carry_out([]) == []
    assert groups.names == []


def test_what_waits_for_an_exclusive_write_goes_together() -> None:
    groups = Groups()
    queue = WriterQueue(groups.run)
    with ThreadPoolExecutor(5) as pool, queue.exclusive():
        for name in "abcde":
            pool.submit(queue.carry_out, [job(name).write])
            while queue.length <= "abcde".index(name):
                threading.Event().wait(0.001)
    assert sorted(name for names in groups.names for name in names) == list("abcde")
    assert len(groups.names) <= 2, "whoever gets the lock first may run its own and those before it"


def test_a_group_that_raises_leaves_the_lock_to_others() -> None:
    class Stopped(BaseException):
        pass

    def run(group: Sequence[Job[Any]]) -> None:
        if group[0].write.actor == "bad":
            raise Stopped
        groups.run(group)

    groups = Groups()
    queue = WriterQueue(run)
    with pytest.raises(Stopped):
        queue.carry_out([job("bad").write])
    queue.carry_out([job("good").write])
    assert groups.names == [["good"]]


def test_many_threads_are_all_served() -> None:
    groups = Groups()
    queue = WriterQueue(groups.run)

    def write(number: int) -> None:
        for place in range(20):
            jobs = queue.carry_out([job(f"{number}-{place}").write])
            assert jobs[0].done

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    names = [name for group in groups.names for name in group]
    assert len(names) == len(set(names)) == 160
