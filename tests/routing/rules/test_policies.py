"""Policies as an author writes them."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.routing.rules.policies import MAX_WEIGHT, read_policies, read_policy
from control_plane.routing.rules.problems import Problems, RulesetError
from control_plane.routing.rules.ruleset import (
    Next,
    Policies,
    Policy,
    UseCell,
    UseStatus,
    UseWeighted,
)


@pytest.mark.parametrize(
    ("raw", "policy"),
    [
        ("next", Next()),
        ("weighted", UseWeighted()),
        ({"weighted": True}, UseWeighted()),
        ({"weighted": {"a": 0, "b": MAX_WEIGHT}}, UseWeighted((("a", 0), ("b", MAX_WEIGHT)))),
        ({"cell": "a"}, UseCell("a")),
        (404, UseStatus(404)),
        ({"status": 599}, UseStatus(599)),
    ],
)
def test_every_way_to_write_a_policy(raw: Any, policy: Policy) -> None:
    problems = Problems()
    assert read_policy(raw, "on_unknown", problems) == policy
    problems.raise_if_any()


@pytest.mark.parametrize(
    "raw",
    [
        *(None, True, 399, 600, 404.0, "Next", [], {}, {"cell": ""}, {"cell": 1}, {"status": "404"}),
        *({"weighted": False}, {"weighted": {}}, {"weighted": {"a": 0}}, {"weighted": {"a": True}}),
        *({"weighted": {"a": -1, "b": 2}}, {"weighted": {"a": MAX_WEIGHT + 1}}, {"weighted": 1}),
        {"cell": "a", "status": 404},
    ],
)  # fmt: skip
def test_what_is_no_policy_is_told_with_the_ways_to_write_one(raw: Any) -> None:
    problems = Problems()
    assert read_policy(raw, "on_unknown", problems) is None
    with pytest.raises(RulesetError, match='use "next"'):
        problems.raise_if_any()


def test_a_rules_own_policy_goes_before_the_default() -> None:
    problems = Problems()
    defaults = {"on_unknown": 410, "on_cell_down": "next"}
    policies, stated = read_policies({"on_unknown": 404}, defaults, problems)
    assert policies == Policies(on_unknown=UseStatus(404), on_cell_down=Next())
    assert stated == {"on_unknown", "on_cell_down"}
    problems.raise_if_any()


@pytest.mark.parametrize("defaults", [[], "next", {"on_nothing": "next"}])
def test_defaults_are_an_object_of_policies(defaults: Any) -> None:
    problems = Problems()
    policies, stated = read_policies({}, defaults, problems)
    assert (policies, stated) == (Policies(), frozenset())
    with pytest.raises(RulesetError, match="defaults"):
        problems.raise_if_any()
