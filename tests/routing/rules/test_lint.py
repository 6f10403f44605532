"""What lint says of rulesets that can be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from control_plane.routing.rules.lint import lint
from tests.support.cells import FakeCell, cells

OK: dict[str, Any] = {"id": "a", "action": "proxy"}
PATH = {"type": "path", "regexValue": "^/(?<n>[^/]+)"}
CLAIM = {"action": "classify", "classify": {"claims": [{"route": "${n}"}]}}
RULESETS = Path(__file__).parents[3] / "rulesets"

LINTED: list[tuple[list[dict[str, Any]], str, str]] = [
    ([{"id": "a", "match": PATH, "action": "classify", "classify": {"claims": [{"route": "${m}"}]}}],
     "error", "captured nowhere"),
    ([{"id": "a", "action": "classify", "classify": {"type": "CELL_ID", "value": "${d.c}"}}],
     "error", "no transform makes d"),
    ([OK | {"validate": {"exist": ["d.c"]}}], "error", "no transform makes d"),
    ([OK | {"proxy": {"cell": "cell-9"}}], "error", "no cell 'cell-9'"),
    ([OK | {"proxy": {"address": "x.example"}}], "error", "no cell has the address"),
    ([OK | {"on_cell_down": {"cell": "nope"}}], "error", "no cell 'nope'"),
    *(
        ([OK | {"match": {"type": "header", "name": name}}], "error", "no rule can see")
        for name in ("^X-Request-Id$", "^(?:a|content-length)$", "^x-cellway-cell$")
    ),
    ([OK | {"on_cell_down": 503}, OK | {"id": "b"}], "warning", "never reached: a decides"),
    ([OK | {"match": PATH}, OK | {"id": "b", "match": [PATH, PATH | {"regexValue": "z"}]}, OK | {"id": "c"}],
     "warning", "never reached: a has the same match"),
    ([{"id": "a", "match": PATH} | CLAIM], "warning", "not stated"),
    ([{"id": "a", "match": PATH, "on_unknown": {"status": 421}} | CLAIM], "warning", "clients get 503"),
    ([{"id": "a", "match": PATH} | CLAIM], "warning", "refused with 404"),
]  # fmt: skip


@pytest.mark.parametrize(("rules", "severity", "says"), LINTED)
def test_lint(rules: list[dict[str, Any]], severity: str, says: str) -> None:
    findings = lint(json.dumps({"name": "t", "rules": rules}), cells().all)
    assert any(f.severity == severity and says in f.message for f in findings), findings


def test_every_remark_has_a_hint() -> None:
    for rules, _, _ in LINTED:
        assert all(finding.hint for finding in lint(json.dumps(rules), cells().all))


def test_without_cells_no_name_is_checked() -> None:
    rules = [OK | {"proxy": {"cell": "cell-9"}, "on_cell_down": {"cell": "nope"}}]
    assert [one for one in lint(json.dumps(rules)) if one.severity == "error"] == []
    said = [one.message for one in lint(json.dumps(rules), []) if one.severity == "error"]
    assert said == ["there is no cell 'nope'", "there is no cell 'cell-9'"]


def test_a_retired_cells_name_may_stand_in_a_rule() -> None:
    rules = [OK | {"proxy": {"cell": "cell-1"}}]
    findings = lint(json.dumps(rules), [FakeCell(1, retired=True)])
    assert [one for one in findings if one.severity == "error"] == []


def test_a_document_that_can_not_be_read_has_its_problems_as_errors() -> None:
    (finding,) = lint("{")
    assert (finding.severity, finding.rule) == ("error", None)
    assert "not JSON" in finding.message


def test_a_transforms_captures_are_checked_by_name() -> None:
    transform = {
        "type": "decode-base64-match",
        "input": "${n}",
        "output": "d",
        "regexValue": "(?<x>.)",
    }
    action = {"action": "classify", "classify": {"type": "CELL_ID", "value": "${d.y}"}}
    rule = {"id": "a", "match": PATH, "transform": transform} | action
    said = {one.message for one in lint([rule]) if one.severity == "error"}
    assert said == {"d has no y"}
