"""Outcomes without a request are those that the evaluator gives to requests."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.routing.evaluate import decide
from control_plane.routing.model import Cells, Outcome, Request, Status, ToCell, Weighted
from control_plane.routing.outcomes import (
    NO_RULE,
    UNAVAILABLE,
    classifier_down_outcome,
    fixed_outcome,
    key_outcomes,
    keyed_cell,
    keyed_cells,
    policy_outcome,
    refusal,
    refusal_codes,
    weighted_outcome,
)
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.ruleset import (
    ClassifyType,
    Next,
    Policy,
    Rule,
    UseCell,
    UseStatus,
    UseWeighted,
)
from tests.support.cells import FakeCell

HEADER = {"type": "header", "name": "^k$", "regexValue": "^(?<p>.*)$"}
KINDS = [ClassifyType.SESSION_PREFIX, ClassifyType.CELL_ID]
policies = st.sampled_from(
    [
        *("next", 404, 429, 503, "weighted", {"weighted": {"cell-1": 3, "cell-2": 1}}),
        *({"cell": f"cell-{number}"} for number in (1, 2, 9)),
    ]
)
stated = st.fixed_dictionaries({"on_unknown": policies, "on_cell_down": policies})
actions = st.sampled_from(
    [
        {"action": "proxy"},
        {"action": "proxy", "proxy": {"cell": "cell-2"}},
        {"action": "proxy", "proxy": {"address": "CELL-1.example.com"}},
        {"action": "proxy", "proxy": {"weighted": {"cell-2": 5, "cell-3": 0, "cell-9": 1}}},
        {"action": "classify", "classify": {"type": "FIRST_CELL"}},
        {"action": "classify", "classify": {"type": "CELL_ID", "value": "3"}},
        {"action": "classify", "classify": {"type": "CELL_ID", "value": "03"}},
        {"action": "classify", "classify": {"type": "SESSION_PREFIX", "value": "cell-1"}},
    ]
)
states = st.sampled_from(["takes all", "takes no new", "down", "retired"])
fleets = st.lists(states, max_size=4).map(
    lambda drawn: Cells(
        FakeCell(
            number,
            serving=state.startswith("takes"),
            accepts_new=state == "takes all",
            retired=state == "retired",
        )
        for number, state in enumerate(drawn, 1)
    )
)


def rule(**fields: Any) -> Rule:
    return parse([{"id": "r", **fields}]).rules[0]


def decided(fields: dict[str, Any], cells: Cells, key: str = "") -> Outcome | None:
    """What the evaluator says; None: it asks the next rule."""
    last = {
        "id": "last",
        "action": "proxy",
        "proxy": {"weighted": {"none": 1}},
        "on_cell_down": 599,
    }
    ruleset = parse([{"id": "r", **fields}, last])
    decision = decide(ruleset, Request.of("/", {"k": key}), cells, lambda keys: [None] * len(keys))
    return None if decision.rule == "last" else decision.outcome


@given(actions, stated, fleets)
@settings(max_examples=400, deadline=None)
def test_a_fixed_outcome_is_the_evaluators(
    action: dict[str, Any], policy: dict[str, Any], cells: Cells
) -> None:
    fields = action | policy
    assert fixed_outcome(rule(**fields), cells) == decided(fields, cells)


@given(st.sampled_from(KINDS), stated, fleets, st.text("0123", min_size=1, max_size=3))
@settings(max_examples=200, deadline=None)
def test_each_key_gets_what_the_evaluator_gives_it(
    kind: ClassifyType, policy: dict[str, Any], cells: Cells, other: str
) -> None:
    classify = {"classify": {"type": kind, "value": "${p}"}}
    fields = {"match": HEADER, "action": "classify"} | classify | policy
    keys = key_outcomes(rule(**fields), cells)
    for key, outcome in keys.serving.items():
        assert decided(fields, cells, key) == outcome
    for key in keys.down:
        assert decided(fields, cells, key) == keys.on_down
    assert len(keys.serving) + len(keys.down) == len(cells.all)
    if other not in {*keys.serving, *keys.down}:
        assert decided(fields, cells, other) == keys.on_unknown


@given(st.sampled_from(KINDS), fleets, st.text("0123 ٣cel-", max_size=6))
def test_a_key_names_a_cell_exactly_if_it_is_listed(
    kind: ClassifyType, cells: Cells, text: str
) -> None:
    listed = keyed_cells(kind, cells)
    assert keyed_cell(kind, text, cells) == listed.get(text)
    for key, cell in listed.items():
        assert keyed_cell(kind, key, cells) is cell


CELLS = Cells([FakeCell(1), FakeCell(2, serving=False, accepts_new=False), FakeCell(3, weight=5)])


@pytest.mark.parametrize(
    ("policy", "outcome"),
    [
        (Next(), None),
        (UseStatus(404), Status(404)),
        (UseStatus(429), Status(429, 5)),
        (UseCell("cell-1"), ToCell("cell-1", 1)),
        (UseCell("cell-2"), UNAVAILABLE),
        (UseCell("cell-9"), UNAVAILABLE),
        (UseWeighted(), Weighted((("cell-1", 100), ("cell-3", 5)))),
        (UseWeighted((("cell-2", 9), ("cell-3", 1))), Weighted((("cell-3", 1),))),
        (UseWeighted((("cell-2", 9),)), UNAVAILABLE),
    ],
)
def test_a_policy_never_gives_a_cell_that_is_down(policy: Policy, outcome: object) -> None:
    assert policy_outcome(policy, CELLS) == outcome


def test_weights_of_nobody_are_no_outcome() -> None:
    assert weighted_outcome(None, Cells([])) is None
    assert weighted_outcome((("cell-1", 0),), CELLS) is None


def test_a_dead_classifier_gets_the_rules_policy() -> None:
    fields: dict[str, Any] = {"action": "classify", "classify": {"claims": [{"route": "x"}]}}
    assert classifier_down_outcome(rule(**fields), CELLS) == Status(503, 5)
    assert classifier_down_outcome(rule(**fields, on_classifier_down="next"), CELLS) is None


def test_every_status_that_a_rule_states_may_be_the_answer() -> None:
    first = {"id": "a", "action": "proxy", "on_invalid": 400, "on_cell_down": 502}
    second = {"id": "b", "action": "proxy", "on_classifier_down": 451, "on_unknown": {"cell": "c"}}
    assert refusal_codes(parse([first, second])) == {400, 404, 451, 502, 503}
    assert NO_RULE == refusal(404) == Status(404)
