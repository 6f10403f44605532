"""``cellway rules test``: what passes, and how a case that is not as expected is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from control_plane.cli import rule_case_results, rule_cases
from control_plane.cli.client import Exit, Failure
from control_plane.cli.main import app
from control_plane.routing.rules.parse import parse
from tests.cli.case_files import FILE, RULESET, results, with_case, write
from tests.support.system import RULESETS


@pytest.mark.parametrize("file", sorted(RULESETS.glob("*.tests.yaml")), ids=lambda p: p.name)
def test_the_shipped_cases_pass(file: Path) -> None:
    found = results(file)
    assert len(found) > 20
    assert [result for result in found if not result["ok"]] == []


def test_gitlabs_cases_reach_every_kind_of_rule() -> None:
    reached = {result["rule"] for result in results(RULESETS / "gitlab.tests.yaml")}
    known = {rule.id for rule in parse(RULESET.read_text()).rules}
    assert {"force_cell", "route", "session", "api_path", "anywhere"} <= reached & known


@pytest.mark.parametrize(
    ("request_", "expect"),
    [
        ({"url": "/x", "cookies": {"force-cell": "cell-1"}}, {"cell": "cell-1"}),
        ({"url": "/x", "headers": {"Cookie": "force-cell=cell-1"}}, {"rule": "force_cell"}),
        ({"url": "https://h.example/foo", "method": "POST"}, {"key": "route:foo"}),
        ("DELETE /foo", {"cell": "cell-2"}),
        ({"url": "/foo", "headers": {"x": ["a", "b"]}}, {"cell": "cell-2"}),
        ("/a%00", {"status": 400}),
    ],
)
def test_ways_to_write_a_request(tmp_path: Path, request_: Any, expect: dict[str, Any]) -> None:
    (result,) = results(write(tmp_path, with_case(request_, **expect)))
    assert result["ok"], result


def test_a_surprise_is_a_readable_diff_and_exit_status_1(tmp_path: Path) -> None:
    file = write(tmp_path, with_case("/foo/bar", cell="cell-1", rule="session"))
    ended = CliRunner().invoke(app, ["rules", "test", str(file)])
    assert isinstance(ended.exception, Failure)
    assert ended.exception.status is Exit.ERROR
    assert str(ended.exception).endswith("1 of 1 cases are not as expected")
    for line in (
        "FAIL  one",
        "- cell: cell-1",
        '+ cell: {"cell": "cell-2"}',
        "- rule: session",
        "+ rule: route",
        "because route:foo is claimed by cell-2",
    ):
        assert line in ended.stdout


def test_another_ruleset_may_be_held_against_the_cases(tmp_path: Path) -> None:
    file = write(tmp_path, FILE)
    generic = RULESETS / "generic.json"
    cases = rule_cases.read(file)
    found = rule_case_results.run(cases, rule_cases.ruleset_of(cases, file, generic))
    assert [result["ok"] for result in found] == [False, False]


def test_the_ruleset_is_looked_for_from_the_files_folder(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(RULESET.read_text())
    file = write(tmp_path, FILE | {"ruleset": "r.json"})
    assert all(result["ok"] for result in results(file))
