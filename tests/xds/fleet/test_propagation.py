"""A revision's time ends with the last node's acknowledgement, not the first's."""

from __future__ import annotations

import time
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from control_plane.xds.fleet.fleet import Fleet
from control_plane.xds.fleet.propagation import Propagation
from tests.xds.server.wire import Wire, answer, clusters, first, read, until


class Times:
    """A clock that is set by hand, and what was observed."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seen: list[float] = []
        self.runs: dict[str, int] = {}
        self.timing: Propagation[str] = Propagation(
            self.seen.append, lambda: self.now, give_up_s=60, max_timed=3
        )

    def joined(self, *names: str) -> None:
        for name in names:
            self.runs[name] = 0
            self.timing.joined(name)

    def published(self, revision: int) -> None:
        self.timing.published(revision, self.now, self.runs.__getitem__)

    def acknowledged(self, name: str, revision: int) -> None:
        self.runs[name] = revision
        self.timing.acknowledged(name, revision)


def test_the_slow_one_of_two_nodes_counts() -> None:
    times = Times()
    times.joined("fast", "slow")
    times.published(1)
    times.now = 1
    times.acknowledged("fast", 1)
    assert times.seen == []
    times.now = 5
    times.acknowledged("slow", 1)
    assert times.seen == [5]
    times.acknowledged("fast", 1)
    assert times.seen == [5]


def test_an_acknowledgement_is_one_for_those_before_it() -> None:
    times = Times()
    times.joined("fast", "slow")
    times.published(1)
    times.acknowledged("fast", 1)
    times.now = 2
    times.published(2)
    times.now = 3
    times.acknowledged("fast", 2)
    assert times.seen == []
    times.acknowledged("slow", 2)
    assert times.seen == [3, 1]


def test_who_is_gone_is_not_waited_for_and_who_comes_later_never_was() -> None:
    times = Times()
    times.joined("a", "b")
    times.published(1)
    times.joined("late")
    times.acknowledged("a", 1)
    times.now = 4
    times.timing.left("b")
    assert times.seen == [4]
    times.published(2)
    times.acknowledged("a", 2)
    assert times.seen == [4]
    times.now = 6
    times.acknowledged("late", 2)
    assert times.seen == [4, 2]


def test_what_changes_nothing_for_a_node_does_not_wait_for_it() -> None:
    times = Times()
    times.joined("a", "b")
    times.runs |= {"a": 7, "b": 7}
    times.published(7)
    assert times.seen == [0]


def test_without_nodes_nothing_is_timed() -> None:
    times = Times()
    times.published(1)
    assert (times.timing.under_way, times.seen) == (0, [])


def test_who_never_answers_is_given_up_and_counts_with_the_time_it_had() -> None:
    times = Times()
    times.joined("a", "stuck")
    times.published(1)
    times.acknowledged("a", 1)
    times.now = 59
    times.timing.give_up()
    assert times.seen == []
    times.now = 61
    times.timing.give_up()
    assert times.seen == [61]
    times.published(2)
    times.acknowledged("a", 2)
    times.now = 62
    times.acknowledged("stuck", 2)
    assert times.seen == [61, 1]


def test_so_many_are_under_way_and_no_more() -> None:
    times = Times()
    times.joined("stuck")
    for revision in range(1, 10):
        times.now = revision
        times.published(revision)
        assert times.timing.under_way <= 3
    assert times.seen == [3] * 6


class Model:
    """`Propagation` beside what it is to be: for each revision the set of who lacks it."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        self.expected: list[float] = []
        self.now, self.newest = 0.0, 0
        self.runs: dict[int, int] = {}
        self.lacking: dict[int, tuple[float, set[int]]] = {}
        self.timing: Propagation[int] = Propagation(self.seen.append, lambda: self.now)

    def wait(self, _: int) -> None:
        self.now += 1

    def publish(self, _: int) -> None:
        self.newest += 1
        if self.runs:
            self.lacking[self.newest] = (self.now, set(self.runs))
        self.timing.published(self.newest, self.now, self.runs.__getitem__)

    def join(self, node: int) -> None:
        if node not in self.runs:
            self.runs[node] = 0
            self.timing.joined(node)

    def leave(self, node: int) -> None:
        if self.runs.pop(node, None) is not None:
            self._lacks_no_more(node, self.newest)
            self.timing.left(node)

    def ack(self, node: int) -> None:
        self._ack(node, self.newest)

    def ack_the_one_before(self, node: int) -> None:
        self._ack(node, self.newest - 1)

    def _ack(self, node: int, revision: int) -> None:
        if self.runs.get(node, revision) < revision:
            self.runs[node] = revision
            self._lacks_no_more(node, revision)
            self.timing.acknowledged(node, revision)

    def _lacks_no_more(self, node: int, revision: int) -> None:
        for other, (since, who) in tuple(self.lacking.items()):
            if other <= revision:
                who.discard(node)
            if not who:
                self.expected.append(self.now - since)
                del self.lacking[other]


STEPS = (Model.wait, Model.publish, Model.join, Model.leave, Model.ack, Model.ack_the_one_before)


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 5)), max_size=60))
def test_it_is_as_if_each_revision_had_a_set_of_who_lacks_it(
    steps: list[tuple[Callable[[Model, int], None], int]],
) -> None:
    model = Model()
    for step, node in steps:
        step(model, node)
        assert model.seen == model.expected
    assert model.timing.under_way == len(model.lacking)


class Seen:
    """An observer of the fleet."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def nacked(self, type_url: str) -> None:
        raise AssertionError(type_url)

    def published(self, revision: int) -> None:
        pass

    def propagated(self, seconds: float) -> None:
        self.times.append(seconds)

    def pushed(self, seconds: float) -> None:
        pass


async def test_over_the_wire_the_node_that_answers_late_ends_it() -> None:
    seen = Seen()
    async with Wire(fleet=Fleet(seen)) as wire:
        wire.cache.set(clusters(1, "a"))
        calls = {}
        for node in ("fast", "slow"):
            call = calls[node] = wire.stub.DeltaAggregatedResources()
            await call.write(first(node))
            await call.write(answer(await read(call)))
        await until(lambda: wire.fleet.lagging(1) == ())
        wire.cache.set(clusters(2, "a", "b"))
        wire.fleet.published(2, time.monotonic())
        responses = {node: await read(call) for node, call in calls.items()}
        await calls["fast"].write(answer(responses["fast"]))
        await until(lambda: wire.fleet.lagging(2) == ("slow",))
        assert seen.times == []
        late = time.monotonic()
        await calls["slow"].write(answer(responses["slow"]))
        await until(lambda: seen.times)
        assert wire.fleet.lagging(2) == ()
        assert len(seen.times) == 1
        # What changes nothing for them is done at once.
        wire.cache.set(clusters(3, "a", "b"))
        wire.fleet.published(3, late)
        assert len(seen.times) == 2


async def test_over_the_wire_a_node_that_goes_without_an_answer_ends_it() -> None:
    seen = Seen()
    async with Wire(fleet=Fleet(seen)) as wire:
        wire.cache.set(clusters(1, "a"))
        call = wire.stub.DeltaAggregatedResources()
        await call.write(first("gone"))
        await read(call)
        wire.fleet.published(1, time.monotonic())
        assert seen.times == []
        call.cancel()
        await until(lambda: seen.times)
        assert len(seen.times) == 1
