"""No interleaving of the edge map's parts gives a wrong answer, and each rule is needed for that."""

from __future__ import annotations

from dataclasses import fields

import pytest

from tests.owners.map_model import Request, Rules, Size, State, Table, explore, wrong

BROKEN = {
    "checks_freshness": ["move", "push 1", "request", "after wait=fleet"],
    "resumes_with_all": ["stream is cut", "stream again", "frame", "request", "complete up to 1"],
    "records_first": ["agent has 1", "frame", "arrives", "request", "complete up to 1"],
    "revision_first": ["agent has 1", "request", "complete up to 1"],
    "holds_who_is_ahead": ["agent is killed", "stream again", "frame", "complete up to 1"],
    "tells_of_envoy": ["agent has 1", "request", "after wait=fleet"],
    "waits": ["move", "request", "after wait=fleet"],
}
"""By the rule that is broken, steps of the shortest way to the error."""


@pytest.mark.parametrize("size", [Size(2, 0), Size(1, 3), Size(2, 1)])
def test_no_interleaving_gives_a_wrong_answer(size: Size) -> None:
    states, error = explore(Rules(), size)
    assert error is None
    assert states > 5_000


@pytest.mark.parametrize("rule", BROKEN)
def test_without_one_of_its_rules_the_error_is_found(rule: str) -> None:
    _, way = explore(Rules(**{rule: False}), Size(1, 2))
    assert way is not None
    rest = iter(way)
    assert all(any(step in one for one in rest) for step in BROKEN[rule]), way


def test_each_rule_is_broken_once() -> None:
    assert {rule.name for rule in fields(Rules)} == BROKEN.keys()


def test_the_check_refuses_no_more_than_it_must() -> None:
    answer = Request(returned=0, known=1, ads=True, revision=1, owner=None)
    assert wrong(State(newest=1, envoy=Table(0, 1), request=answer), Rules())
    assert wrong(State(newest=1, envoy=Table(1, 1), request=answer), Rules()) is None
    cut_off = Request(returned=1, known=0, ads=False, revision=0, owner=None)
    assert wrong(State(newest=1, envoy=Table(0, 0), request=cut_off), Rules()) is None
    assert wrong(State(newest=1, request=cut_off._replace(ads=True)), Rules())
