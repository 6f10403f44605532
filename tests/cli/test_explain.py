"""``cellway explain``: which cell a request would reach, and why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from control_plane.cli.client import Exit
from tests.cli.canned_api import CannedApi
from tests.cli.cellway_command import Cellway
from tests.support.system import RULESETS


def test_a_request_is_explained_by_its_headers_and_cookies(cellway: Cellway) -> None:
    assert cellway("claims", "claim", "cell-1", "route:foo").returncode == 0
    assert cellway("rules", "apply", str(RULESETS / "gitlab.json")).returncode == 0
    owned = cellway("explain", "https://gitlab.example/foo/bar", "-b", "a=b", "-o", "json")
    assert json.loads(owned.stdout)["cell"] == "cell-1"
    cookie = cellway("explain", "/foo", "-X", "POST", "-b", "force-cell=cell-2", "-o", "json")
    assert json.loads(cookie.stdout)["rule"] == "force_cell"
    header = cellway("explain", "/foo", "-H", "Cookie: force-cell=cell-2", "-o", "json")
    assert json.loads(header.stdout)["cell"] == "cell-2"
    table = cellway("explain", "/foo")
    assert "→ cell-1 by rule route" in table.stderr
    assert table.stdout.splitlines()[0].split() == ["RULE", "RESULT", "WHY"]


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        ({"weighted": {"c1": 1, "c2": 3}}, "→ any of c1 (1), c2 (3) by rule -: why"),
        ({"status": 404}, "→ refused with 404 by rule -: why"),
    ],
)
def test_every_outcome_has_its_words(outcome: dict[str, Any], says: str) -> None:
    answer: dict[str, Any] = {"outcome": outcome, "rule": None, "reason": "why", "trace": []}
    with CannedApi({"/v1/explain": (200, answer)}).running() as api:
        assert says in Cellway(api.url)("explain", "/x").stderr


def test_a_header_has_a_name_and_a_value(cellway: Cellway) -> None:
    ended = cellway("explain", "/x", "-H", "nocolon")
    assert (ended.returncode, "write 'Name: value'" in ended.stderr) == (Exit.USAGE, True)
