"""``cellway explain``: which cell a request would reach, and why."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from control_plane.cli.client import Exit
from tests.cli.canned_api import CannedApi
from tests.cli.cellway_command import Cellway
from tests.cli.conftest import Rest
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


def test_the_past_is_explained_by_revision_and_by_time(rest: Rest) -> None:
    cellway = rest.cellway
    assert cellway("rules", "apply", str(RULESETS / "gitlab.json")).returncode == 0
    assert cellway("claims", "claim", "cell-1", "route:wandering").returncode == 0
    then, at = rest.topology.revision(), datetime.now(UTC).isoformat()
    assert cellway("claims", "release", "route:wandering", "--yes").returncode == 0
    assert cellway("claims", "claim", "cell-2", "route:wandering").returncode == 0
    assert json.loads(cellway("explain", "/wandering", "-o", "json").stdout)["cell"] == "cell-2"
    for when in (str(then), at):
        told = cellway("explain", "/wandering", "--at", when, "-o", "json")
        answer = json.loads(told.stdout)
        assert (answer["cell"], answer["revision"]) == ("cell-1", then)
        assert f"at revision {then}: → cell-1 by rule route" in told.stderr


@pytest.mark.parametrize(
    ("at", "status", "says"),
    [
        ("9999999", Exit.USAGE, "revision 9999999 is still to come"),
        ("2026-11-30T03:12", Exit.USAGE, "has no time zone; write 2026-11-30T03:12Z for UTC"),
        ("yesterday", Exit.USAGE, "neither a revision nor a time; write 2026-11-30T03:12Z"),
        ("2999-01-01T00:00Z", Exit.USAGE, "is still to come"),
        ("0", Exit.CONFLICT, "no ruleset was active at revision 0"),
    ],
)
def test_a_moment_that_cannot_be_told_is_refused(
    cellway: Cellway, at: str, status: Exit, says: str
) -> None:
    ended = cellway("explain", "/x", "--at", at)
    assert (ended.returncode, says in ended.stderr) == (status, True), ended.stderr


def test_what_is_no_longer_kept_is_told_with_the_oldest_revision(rest: Rest) -> None:
    rest.topology.cells.set_health("cell-1", healthy=False, actor="t")
    rest.topology.cells.set_health("cell-1", healthy=True, actor="t")
    oldest = rest.topology.changes.prune(keep=1).oldest
    ended = rest.cellway("explain", "/x", "--at", str(oldest - 1))
    assert ended.returncode == Exit.ERROR
    assert f"the oldest revision that can be told is {oldest}" in ended.stderr
