"""Files of cases: YAML or JSON, and what is none says where and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from control_plane.cli import rule_cases
from control_plane.cli.client import Exit, Failure
from tests.cli.case_files import FILE, results, with_case, write


@pytest.mark.parametrize("name", ["cases.yaml", "cases.json"])
def test_yaml_and_json_are_read_alike(tmp_path: Path, name: str) -> None:
    assert [result["ok"] for result in results(write(tmp_path, FILE, name))] == [True, True]


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
        (FILE | {"ruleset": "nowhere.json"}, "nowhere.json is no file"),
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
