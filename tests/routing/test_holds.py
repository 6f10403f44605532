"""What a claim that a move holds gets: refused, its old cell, or the target for test users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from control_plane.routing.evaluate import decide
from control_plane.routing.holds import by_owner
from control_plane.routing.model import Cells, Request, Status, ToCell
from control_plane.routing.outcomes import FROZEN
from control_plane.routing.rules.parse import parse
from control_plane.topology.values.hold import Freeze, Hold, PreviewUser, Selector
from tests.support.cells import FakeCell

RULES = parse(
    """{"name": "r", "rules": [
        {"id": "api", "match": {"type": "path", "regexValue": "^/api/(?<t>[a-z]+)"},
         "action": "classify", "classify": {"claims": [{"tenant": "${t}"}]}},
        {"id": "web", "match": {"type": "path", "regexValue": "^/(?<t>[a-z]+)"},
         "action": "classify", "classify": {"claims": [{"tenant": "${t}"}]}}]}"""
)


@dataclass
class Case:
    hold: Hold | None
    request: Request
    cell: int | None


def hold(freeze: Freeze | None, *testers: PreviewUser) -> Hold:
    return Hold(7, 1, 2, freeze, testers)


def asked(method: str = "GET", path: str = "/acme", **headers: str) -> Request:
    return Request.of(path, headers, method=method)


WRITES = Freeze()
TESTER = PreviewUser("cookie", "tester", "yes")
PUSH = Freeze((Selector(("POST",), r"/git-receive-pack$"),))
CASES = [
    Case(hold(WRITES), asked("GET"), 1),
    Case(hold(WRITES), asked("HEAD"), 1),
    Case(hold(WRITES), asked("POST"), None),
    Case(hold(WRITES), asked("PROPFIND"), None),
    Case(
        hold(Freeze(None, (Selector(path="^/acme/sign_in$"),))), asked("POST", "/acme/sign_in"), 1
    ),
    Case(hold(Freeze(None, (Selector(rule="api"),))), asked("POST", "/api/acme"), 1),
    Case(hold(Freeze(None, (Selector(rule="api"),))), asked("POST", "/acme"), None),
    Case(hold(PUSH), asked("POST", "/acme.git/git-receive-pack"), None),
    Case(hold(PUSH), asked("POST", "/acme.git/git-upload-pack?a=/git-receive-pack"), 1),
    Case(hold(Freeze((Selector(),))), asked("GET"), None),
    Case(hold(Freeze(())), asked("POST"), 1),
    Case(hold(None, TESTER), asked("POST"), 1),
    Case(hold(None, TESTER), asked("POST", cookie="a=1; tester=yes"), 2),
    Case(hold(None, TESTER), asked("GET", cookie="tester=yesterday"), 1),
    Case(hold(WRITES, TESTER), asked("POST", cookie="tester=yes"), 2),
    Case(hold(WRITES, PreviewUser("header", "X-Try", "1")), asked("POST", **{"x-try": "1"}), 2),
    Case(None, asked("GET"), None),
]


@pytest.mark.parametrize("case", CASES)
def test_a_held_claim_gets_what_its_move_says(case: Case) -> None:
    cells: Any = [FakeCell(1), FakeCell(2)]
    index = Cells(cells, by_owner([case.hold] if case.hold else []))
    decision = decide(RULES, case.request, index, lambda keys: [-7 for _ in keys])
    if case.cell is None:
        assert decision.outcome is FROZEN
        assert isinstance(decision.outcome, Status)
        assert decision.outcome.retry_after == 5
        assert "by move 7" in decision.reason
    else:
        assert decision.outcome == ToCell(f"cell-{case.cell}", case.cell)
    assert decision.key == "tenant:acme"


def test_a_held_claim_whose_cell_is_gone_is_refused_and_no_later_rule_is_asked() -> None:
    index = Cells([FakeCell(2)], by_owner([hold(None)]))
    decision = decide(RULES, asked(path="/api/acme"), index, lambda keys: [-7 for _ in keys])
    assert (decision.outcome, decision.rule) == (FROZEN, "api")
