"""What each rule's tiers are, and what keeps it from a faster one."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.compiler.programs import RulesetProgram, RuleTiers, limits
from control_plane.compiler.programs.regex_hints import rewrite_hint
from control_plane.routing.rules.parse import parse
from control_plane.shipped import RULESETS
from tests.compiler.programs.comparison import some_cells


def _tiers(*matches: dict[str, Any], **more: Any) -> RuleTiers:
    rule = {"id": "r", "match": list(matches), "action": "proxy"} | more
    (tiers,) = RulesetProgram.of(parse({"rules": [rule]})).tiers()
    return tiers


def _path(regex: str) -> dict[str, Any]:
    return {"type": "path", "regexValue": regex}


@pytest.mark.parametrize("name", sorted(path.stem for path in RULESETS.glob("*.json")))
def test_nothing_keeps_the_module_from_any_shipped_rule(name: str) -> None:
    tiers = RulesetProgram.of(parse((RULESETS / f"{name}.json").read_text())).tiers()
    assert {one.hindrance for one in tiers} == {None}
    assert {one.with_module for one in tiers} <= {"native", "edge-map"}


def test_a_token_is_decoded_by_the_module_alone() -> None:
    rules = parse((RULESETS / "gitlab.json").read_text())
    tiers = {one.rule: one for one in RulesetProgram.of(rules).tiers()}
    token, session = tiers["header_token_cell"], tiers["session"]
    assert (token.with_module, token.without_module) == ("native", "edge-cache")
    assert (session.with_module, session.without_module) == ("native", "native")
    assert (tiers["route"].with_module, tiers["route"].without_module) == ("edge-map", "edge-cache")
    assert tiers["anywhere"].up_to_cells is None


def test_rules_have_their_answers_up_to_so_many_cells() -> None:
    ruleset = RulesetProgram.of(parse((RULESETS / "gitlab.json").read_text()))
    room = {one.rule: one.up_to_cells for one in ruleset.tiers()}
    program = ruleset.program(some_cells())
    assert not program.without_cells
    least = min(cells for cells in room.values() if cells is not None)
    assert least * sum(cells is not None for cells in room.values()) <= limits.MAX_ANSWERS
    assert room["force_cell"] == max(cells for cells in room.values() if cells is not None)


def test_headers_by_regex_stay_slow_and_the_hint_says_how_to_name_them() -> None:
    tiers = _tiers({"type": "header", "name": "^x-.*$"})
    assert (tiers.with_module, tiers.without_module) == ("classifier", "classifier")
    assert tiers.hindrance == "the names of headers are a regex, ^x-.*$"
    assert tiers.hint == "list the headers' names: ^(?:x-one|x-two)$"


@pytest.mark.parametrize(
    ("slow", "fast"),
    [
        ("^/[[:alpha:]]+", "^/[A-Za-z]+"), ("(?i)^/a", "(?i:^/a)"), ("^/\\x66", "^/f"), ("\\Q/a.b\\E", "/a\\.b"),
        ("^/\\pL", "^/[A-Za-z]"), ("^/\\C*", "^/(?s:.)*"), ("\\A/a\\z", "^/a$"), ("^/é", "^/%C3%A9"),
    ],
)  # fmt: skip
def test_a_small_rewrite_is_told_and_makes_a_rule_fast(slow: str, fast: str) -> None:
    assert rewrite_hint(slow) is not None
    assert _tiers(_path(slow)).hindrance is not None
    assert _tiers(_path(slow)).hint == rewrite_hint(slow)
    assert rewrite_hint(fast) is None
    assert _tiers(_path(fast)).hindrance is None


def test_what_a_program_can_t_hold_is_said() -> None:
    claims = {"claims": [{"route": "é${v}"}]}
    tiers = _tiers(_path("^/(?<v>.)"), action="classify", classify=claims)
    assert tiers.hindrance == "é${v} is long, or not ASCII"
    assert tiers.hint is None
