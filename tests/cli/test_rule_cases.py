"""``cellway rules test``: what passes, what surprises, and what is no file of cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from control_plane.cli import rule_case_results, rule_cases
from control_plane.cli.client import Exit, Failure
from control_plane.cli.main import app
from control_plane.routing.rules.parse import parse
from tests.support.system import RULESETS

RULESET = RULESETS / "gitlab.json"
FILE: dict[str, Any] = {
    "ruleset": str(RULESET),
    "cells": {"cell-1": {"session_prefix": "cell-1"}, "cell-2": {"state": "draining"}},
    "claims": {"route:Foo": "cell-2"},
    "cases": [
        {"name": "owned", "request": "/foo/bar", "expect": {"cell": "cell-2", "rule": "route"}},
        {"name": "free", "request": "/nobody", "expect": {"any_of": ["cell-1"]}},
    ],
}


def write(path: Path, document: Any, name: str = "cases.yaml") -> Path:
    file = path / name
    text = json.dumps(document) if file.suffix == ".json" else yaml.safe_dump(document)
    file.write_text(text)
    return file


def results(file: Path) -> list[dict[str, Any]]:
    cases = rule_cases.read(file)
    return rule_case_results.run(cases, rule_cases.ruleset_of(cases, file, None))


def with_case(request: Any, **expect: Any) -> dict[str, Any]:
    return FILE | {"cases": [{"name": "one", "request": request, "expect": expect}]}


@pytest.mark.parametrize("file", sorted(RULESETS.glob("*.tests.yaml")), ids=lambda p: p.name)
def test_the_shipped_cases_pass(file: Path) -> None:
    found = results(file)
    assert len(found) > 20
    assert [result for result in found if not result["ok"]] == []


def test_gitlabs_cases_reach_every_kind_of_rule() -> None:
    reached = {result["rule"] for result in results(RULESETS / "gitlab.tests.yaml")}
    known = {rule.id for rule in parse(RULESET.read_text()).rules}
    assert {"force_cell", "route", "session", "api_path", "anywhere"} <= reached & known


@pytest.mark.parametrize("name", ["cases.yaml", "cases.json"])
def test_yaml_and_json_are_read_alike(tmp_path: Path, name: str) -> None:
    assert [result["ok"] for result in results(write(tmp_path, FILE, name))] == [True, True]


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


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (FILE | {"cases": []}, "at least 1 item"),
        (FILE | {"case": []}, "Extra inputs"),
        (with_case("/x"), "expect says nothing"),
        (with_case("/x", cell="cell-1", status=404), "exclude each other"),
        (with_case("/x", sell="cell-1"), "cases.0.expect.sell ('one')"),
        (with_case({"url": "/x", "methd": "GET"}, status=404), "cases.0.request.methd"),
        (with_case("ftp://x", status=404), "no URL"),
        (FILE | {"claims": {"route:x": "cell-9"}}, "which is no cell"),
        (FILE | {"claims": {"Nonsense": "cell-1"}}, "no bucket"),
        (FILE | {"cells": {"a": {"id": 1}, "b": {"id": 1}}}, "share an id"),
        (FILE | {"cases": FILE["cases"] * 2}, "same name: free, owned"),
        (FILE | {"ruleset": None}, "give --rules"),
        (FILE | {"ruleset": "nowhere.json"}, "can't be read"),
        ([], "no file of cases"),
    ],
)
def test_what_is_no_file_of_cases_says_where_and_why(
    tmp_path: Path, document: Any, says: str
) -> None:
    with pytest.raises(Failure) as caught:
        results(write(tmp_path, document))
    assert says in str(caught.value)
    assert caught.value.status is Exit.USAGE


@pytest.mark.parametrize("text", ["a: [", "\x00", "{" * 100_000])
def test_what_is_no_yaml_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cases.yaml"
    file.write_text(text)
    with pytest.raises(Failure) as caught:
        rule_cases.read(file)
    assert caught.value.status is Exit.USAGE
