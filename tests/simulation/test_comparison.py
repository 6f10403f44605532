"""A simulation says what the evaluator says of each whole request, one by one."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.routing.explain import explain
from control_plane.routing.model import Cells, ClaimKey
from control_plane.routing.rules.ruleset import Ruleset
from control_plane.simulation import comparison
from control_plane.simulation.comparison import Comparison
from control_plane.simulation.logs.log_file import LogFile
from control_plane.simulation.worlds import World
from tests.simulation.rules import PATH, TENANT_HEADER, claim, ruleset
from tests.support.cells import FakeCell, cells

CELLS = cells()
OTHER_CELLS = cells(FakeCell(1, serving=False), FakeCell(2), FakeCell(3, accepts_new=False))
ANY = {"action": "proxy", "proxy": {"weighted": True}}
COOKIE = {"type": "cookie", "name": "^s$", "regexValue": "(?<t>[a-z]+)"}
QUERY = {"type": "query_string", "regexValue": "t=(?<t>[a-z]+)"}
NO_QUERY = {"type": "query_string", "regexValue": "x", "invert": True}
METHOD = {"type": "method", "regexValue": "^POST$"}
HOST = {"type": "host", "regexValue": "^(?<t>[a-z]+)\\."}
NO_COOKIE = {"type": "cookie", "name": "^s", "invert": True}
RULES = st.sampled_from(
    [
        *(claim(match, "${t}") for match in (TENANT_HEADER, COOKIE, QUERY, HOST)),
        claim(COOKIE, "${t}", on_unknown={"status": 404}),
        claim(PATH, "${p}"),
        *({"match": match, **ANY} for match in (METHOD, NO_QUERY, NO_COOKIE)),
        {"match": NO_QUERY, "action": "proxy", "proxy": {"cell": "cell-1"}},
        {"match": PATH, "action": "proxy", "proxy": {"cell": "cell-2"}, "on_cell_down": "next"},
    ]
)
NAMES = st.sampled_from(["a", "b", "c", "x"])
LINES = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "POST", "BREW"]),
        "path": st.sampled_from(["/a", "/b/c?t=c", "/c?x=1", "/a?t=b&x=1", "/%2e/b", "/d#e", "*"]),
        "authority": st.sampled_from(["a.example", "b.example:80", "h"]),
        "cookie": st.sampled_from([None, "s=a", "z=1; s=b", "sx=c", "z=2"]),
        "x-tenant": st.none() | NAMES,
        "user_agent": NAMES,
    }
)


def owners(keys: Sequence[ClaimKey]) -> list[int | None]:
    return [{"a": 1, "b": 2, "c": 3}.get(value) for _, value in keys]


def decided_alone(rules: Ruleset, cells: Cells, line: dict[str, Any]) -> str:
    headers = [(name.replace("_", "-"), value) for name, value in line.items() if value]
    headers = [(name, value) for name, value in headers if name not in {"method", "path"}]
    headers = [("host" if name == "authority" else name, value) for name, value in headers]
    with patch("control_plane.routing.explain.split_url", lambda url: ("h", url)):
        decision = explain(
            rules, cells, owners, url=line["path"], method=line["method"], headers=headers
        )
    return json.dumps([decision["rule"], decision["outcome"]], sort_keys=True)


def said(side: dict[str, Any]) -> str:
    outcome = {name: value for name, value in side.items() if name != "rule"}
    return json.dumps([side["rule"], outcome], sort_keys=True)


@settings(max_examples=150, deadline=None)
@given(
    before=st.lists(RULES, min_size=1, max_size=4),
    after=st.lists(RULES, min_size=1, max_size=4),
    keep=st.integers(0, 3),
    other_cells=st.booleans(),
    lines=st.lists(LINES, max_size=30),
)
def test_counts_are_those_of_all_requests_decided_one_by_one(
    before: list[Any], after: list[Any], keep: int, other_cells: bool, lines: list[dict[str, Any]]
) -> None:
    old = World(ruleset(*before), CELLS)
    new = World(ruleset(*before[:keep], *after), OTHER_CELLS if other_cells else CELLS)
    log = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    compared = Comparison(old, new, owners, examples=2)
    with patch.object(comparison, "PENDING", 4), patch.object(comparison, "REMEMBERED", 5):
        compared.run(LogFile(io.BytesIO(log)), "h")
    expected = Counter(
        (decided_alone(old.ruleset, old.cells, one), decided_alone(new.ruleset, new.cells, one))
        for one in lines
    )
    report = compared.tally.as_dict()
    assert {(said(one["from"]), said(one["to"])): one["count"] for one in report["groups"]} == (
        dict(expected)
    )
    moved = [n for (a, b), n in expected.items() if json.loads(a)[1] != json.loads(b)[1]]
    assert (report["requests"], report["different"]) == (len(lines), sum(moved))


def test_lines_that_tell_nothing_are_counted_and_the_first_ones_shown() -> None:
    log = b'{"method": "GET", "path": "/a"}\nnonsense\n{}\n{"a": 1}\n'
    world = World(ruleset(claim(PATH, "${p}")), CELLS)
    compared = Comparison(world, world, owners, examples=2)
    compared.run(LogFile(io.BytesIO(log)), "h")
    unreadable = compared.tally.as_dict()["unreadable"]
    assert unreadable["count"] == 3
    assert [(one["line"], one["text"]) for one in unreadable["first"]] == [
        (2, "nonsense"),
        (3, "{}"),
    ]


def test_an_example_has_its_line_and_its_grounds() -> None:
    log = b'\n{"method": "GET", "path": "/a?secret=1", "authority": "h.example"}\n' * 2
    before = World(ruleset(claim(PATH, "${p}")), CELLS)
    after = World(ruleset({"match": PATH, "action": "proxy", "proxy": {"cell": "cell-3"}}), CELLS)
    compared = Comparison(before, after, owners, examples=3)
    compared.run(LogFile(io.BytesIO(log)), "h")
    (group,) = compared.tally.as_dict()["groups"]
    assert (group["count"], group["from"]["cell"], group["to"]["cell"]) == (2, "cell-1", "cell-3")
    assert group["examples"] == [
        {
            "line": 2,
            "method": "GET",
            "host": "h.example",
            "path": "/a",
            "from": {"key": "route:a", "why": "route:a is claimed by cell-1"},
            "to": {"key": "cell:cell-3", "why": "proxy to cell:cell-3"},
        }
    ]


def test_progress_is_told_in_lines() -> None:
    told: list[int] = []
    world = World(ruleset(claim(PATH, "${p}")), CELLS)
    log = LogFile(io.BytesIO(b'{"method": "GET", "path": "/a"}\n' * 12_000))
    Comparison(world, world, owners, examples=0).run(log, "h", told.append)
    assert told == [5000, 10_000, 12_000]
