"""Files of test cases for rulesets, as tests write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from control_plane.cli import rule_case_results, rule_cases
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
