"""A name of nobody may be new: the first requests with one are left to the classifier."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ctypes import c_uint64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.compiler.programs import RulesetProgram
from control_plane.edge_module.library import EdgeMap, load
from control_plane.routing.rules.parse import parse
from tests.edge_module import wire
from tests.edge_module.names import BUCKET, KEY, key_id, name_hash, program
from tests.edge_module.wire import grpc
from tests.support.cells import FakeCell, cells

TABLE = 77
MOST = 1_000_000
CHAIN = {
    "name": "chain",
    "defaults": {"on_classifier_down": {"status": 503}, "on_cell_down": {"status": 503}},
    "rules": [
        {
            "id": "first",
            "match": {"type": "path", "regexValue": "^/(?<one>[^/]+)"},
            "on_unknown": "next",
            "action": "classify",
            "classify": {"claims": [{BUCKET: "${one}"}]},
        },
        {
            "id": "chain",
            "match": {"type": "path", "regexValue": "^/(?<one>[^/]+)/(?<two>[^/]+)"},
            "on_unknown": "next",
            "action": "classify",
            "classify": {"claims": [{BUCKET: "${one}/${two}"}, {BUCKET: "${two}"}]},
        },
        {"id": "rest", "action": "proxy", "proxy": {"cell": "cell-8"}},
    ],
}
"""A path's first part, else both, else the second, else cell 8."""


@pytest.fixture
def edge() -> Iterator[EdgeMap]:
    """A map that is certain that only `acme` has an owner."""
    with EdgeMap(load(), KEY) as made:
        made.set_epochs("0;")
        talk = [wire.begin(5, TABLE, key_id()), wire.base(5, TABLE, [(name_hash("acme"), 7)])]
        for frame in (*talk, wire.beat(5, TABLE)):
            made.feed(grpc(frame))
        yield made


class Asking:
    """`cw_asking` of `envoy/module/asking.h`, with a clock of the test's."""

    def __init__(self, per_second: int) -> None:
        self._state = (c_uint64 * 2)()
        self.now_ms = 1_000_000
        self.set(per_second)

    def set(self, per_second: int) -> None:
        load().cw_asking_set(self._state, per_second)

    def taken(self, requests: int, *, found_owner: bool = False) -> int:
        """Return how many of so many requests may ask."""
        take = load().cw_asking_take
        return sum(take(self._state, self.now_ms, found_owner) for _ in range(requests))


@pytest.mark.parametrize("per_second", [1, 7, 100, 3000])
def test_one_second_is_saved_up_and_then_the_rate_holds(per_second: int) -> None:
    asking = Asking(per_second)
    assert asking.taken(2 * per_second + 10) == per_second
    asking.now_ms += 500
    assert asking.taken(per_second + 10) == per_second // 2
    asking.now_ms += 3_600_000
    assert asking.taken(2 * per_second + 10) == per_second


@given(
    st.integers(0, 2_000),
    st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 300)), max_size=30),
)
def test_no_stretch_of_time_has_more_questions_than_rate_and_burst(
    per_second: int, steps: list[tuple[int, int]]
) -> None:
    asking, taken = Asking(per_second), 0
    start = asking.now_ms
    for wait, requests in steps:
        asking.now_ms += wait
        taken += asking.taken(requests)
        assert taken <= per_second * (1 + (asking.now_ms - start) / 1000)


def test_a_new_rate_holds_at_once_and_none_asks_at_rate_0() -> None:
    asking = Asking(0)
    assert asking.taken(100) == 0
    asking.set(50)
    assert asking.taken(100) == 50
    asking.set(0)
    asking.now_ms += 10_000
    assert asking.taken(100) == 0
    asking.set(2 * MOST)
    assert asking.taken(10) == 10


def test_answers_that_found_an_owner_leave_the_others_theirs() -> None:
    asking = Asking(100)
    assert asking.taken(1000, found_owner=True) == 50
    assert asking.taken(1000) == 50
    for _ in range(20):
        asking.now_ms += 100
        assert asking.taken(10) == 10
        assert asking.taken(1000, found_owner=True) == 0
    asking.now_ms += 1000
    assert asking.taken(1000, found_owner=True) == 50


def test_threads_share_one_number() -> None:
    asking = Asking(1000)
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(asking.taken, [400] * 8)) == 1000


def test_an_answer_for_a_name_of_nobody_is_left_out_while_few_come(edge: EdgeMap) -> None:
    edge.set_asking(2)
    code = program().code
    assert [edge.answer(code, "/t/nobody") for _ in range(2)] == ["", ""]
    assert edge.answer(code, "/t/nobody") == "0=unknown"


def test_known_names_and_fixed_answers_take_nothing(edge: EdgeMap) -> None:
    edge.set_asking(1)
    code = program().code
    assert {edge.answer(code, "/t/acme") for _ in range(50)} == {"0:7"}
    assert edge.answer(code, "/t/nobody") == ""
    assert edge.answer(code, "/t/nobody") == "0=unknown"
    assert edge.answer(code, "/t/acme") == "0:7"


@pytest.mark.parametrize(
    ("path", "answer"),
    [("/new/acme", "1:7"), ("/new/nobody", "2=fixed"), ("/new", "2=fixed"), ("/acme", "0:7")],
)
def test_an_answer_rests_on_every_name_of_nobody_that_came_before_it(
    edge: EdgeMap, path: str, answer: str
) -> None:
    code = RulesetProgram.of(parse(CHAIN)).program(cells(FakeCell(7), FakeCell(8))).code
    assert edge.answer(code, path) == answer
    edge.set_asking(2)
    assert edge.answer(code, path) == ("" if "new" in path else answer)
    edge.set_asking(0)
    assert edge.answer(code, path) == answer
