"""The answers of a program: what each of them is, and how many there may be."""

from __future__ import annotations

import time
from typing import Any

import pytest

from control_plane.compiler.programs import Program, RulesetProgram, limits
from control_plane.routing.model import Cells, Reason, Status, ToCell, Weighted
from control_plane.routing.rules.parse import parse
from control_plane.shipped import RULESETS
from tests.compiler.cells import cell
from tests.compiler.programs.comparison import DOWN, some_cells

PATH = {"type": "path", "regexValue": "^/(?<a>[^/]+)"}
CLAIM: dict[str, Any] = {
    "match": PATH,
    "action": "classify",
    "classify": {"claims": [{"route": "${a}"}]},
}
KEY: dict[str, Any] = {
    "match": PATH, "action": "classify", "classify": {"type": "SESSION_PREFIX", "value": "${a}"},
}  # fmt: skip
ANYWHERE = {"id": "anywhere", "action": "proxy"}


def _program(*rules: dict[str, Any], cells: Cells | None = None) -> Program:
    named = [{"id": f"r{number}"} | rule for number, rule in enumerate(rules)]
    return RulesetProgram.of(parse({"rules": named})).program(cells or some_cells())


def test_a_claim_leads_to_each_cell_or_to_its_refusal() -> None:
    answers = _program(CLAIM | {"on_unknown": 404, "on_cell_down": 503}).answers
    assert list(answers) == ["0=unknown", *(f"0:{number}" for number in range(1, DOWN + 1))]
    assert answers["0:2"].outcome == ToCell("cell-2", 2)
    for key, code, reason in (("0:6", 503, Reason.CELL_DOWN), ("0=unknown", 404, Reason.UNKNOWN)):
        outcome = answers[key].outcome
        assert isinstance(outcome, Status)
        assert (outcome.code, outcome.reason) == (code, reason)
    assert {one.tier for one in answers.values()} == {"edge-map"}


def test_what_goes_to_the_next_rule_has_no_answer() -> None:
    answers = _program(CLAIM | {"on_unknown": "next", "on_cell_down": "next"}, ANYWHERE).answers
    assert [key for key in answers if "=" in key] == ["1=fixed"]
    assert f"0:{DOWN}" not in answers
    assert isinstance(answers["1=fixed"].outcome, Weighted)
    assert answers["1=fixed"].tier == "native"


def test_a_cell_that_is_down_is_no_route_to_all_others() -> None:
    answers = _program(CLAIM | {"on_cell_down": "weighted"}).answers
    assert f"0:{DOWN}" not in answers


def test_tokens_have_an_answer_for_what_does_not_decode() -> None:
    token = {"type": "routable-json", "input": "${a}", "output": "d"}
    answers = _program(CLAIM | {"transform": token, "on_invalid": 400}).answers
    invalid = answers["0=invalid"].outcome
    assert isinstance(invalid, Status)
    assert (invalid.code, invalid.reason) == (400, Reason.INVALID)


def test_only_cells_with_a_prefix_are_led_to_by_one() -> None:
    cells = Cells([cell(1, session_prefix="one"), cell(2, session_prefix=None)])
    assert list(_program(KEY, cells=cells).answers) == ["0:1"]


def test_keys_come_before_claims_where_not_all_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ANSWERS", 14)
    made = _program(CLAIM, CLAIM, KEY, ANYWHERE)
    assert len(made.answers) <= 14
    assert made.without_cells == {1}
    assert {key.split(":")[0] for key in made.answers} == {"0", "2", "3=fixed"}


@pytest.mark.parametrize("name", ["gitlab", "session_prefix"])
def test_ten_thousand_cells_are_quickly_compiled(name: str) -> None:
    compiled = RulesetProgram.of(parse((RULESETS / f"{name}.json").read_text()))
    cells = Cells(cell(number, session_prefix=f"cell-{number}") for number in range(1, 10_001))
    times = []
    for _ in range(5):
        start = time.process_time()
        made = compiled.program(cells)
        times.append(time.process_time() - start)
    assert len(made.answers) <= limits.MAX_ANSWERS
    assert min(times) < 0.05
