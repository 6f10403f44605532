"""The evaluator, feature by feature."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.routing.evaluate import decide
from control_plane.routing.model import Decision, Request, Status, ToCell, Weighted
from control_plane.routing.rules.parse import parse
from control_plane.routing.tokens import encode_routable_token
from tests.support.cells import FakeCell, cells, owners

PREFIX = {"type": "SESSION_PREFIX", "value": "${p}"}


def ruleset(*rules: dict[str, Any], **more: Any) -> Any:
    made = [{"id": f"r{index}", "action": "proxy"} | rule for index, rule in enumerate(rules)]
    return parse(json.dumps({"name": "t", "rules": made} | more))


def ask(
    rules: Any, request: Request, claims: dict[str, int] | None = None, *given: FakeCell
) -> Decision:
    traced = decide(rules, request, cells(*given), owners(claims or {}))
    fast = decide(rules, request, cells(*given), owners(claims or {}), trace=False)
    assert (fast.outcome, fast.rule, fast.key) == (traced.outcome, traced.rule, traced.key)
    return traced


def cookie_rule(**more: Any) -> dict[str, Any]:
    match = {"type": "cookie", "name": "^session$", "regexValue": "^(?<p>cell-[0-9]+)-"}
    return {"match": match, "action": "classify", "classify": PREFIX} | more


@pytest.mark.parametrize(
    ("cookie", "cell"),
    [
        ("session=cell-2-abc", "cell-2"),
        ("a=b; session=cell-2-abc", "cell-2"),
        ("a=b;session = cell-3-x ;c", "cell-3"),
        ("session=cell-1-a; session=cell-2-b", "cell-1"),
        ("session=nothing; session=cell-2-b", "cell-2"),
        ("xsession=cell-2-a", None),
        ("session=xcell-2-a", None),
        ("session=cell-9-a", None),
        ("session", None),
        ("", None),
    ],
)
def test_cookies(cookie: str, cell: str | None) -> None:
    decision = ask(ruleset(cookie_rule()), Request.of("/", {"cookie": cookie}))
    assert decision.cell == cell
    if cell is None:
        assert decision.outcome == Status(404)


def test_all_matches_of_a_rule_must_hold() -> None:
    rules = ruleset(
        {
            "match": [
                {"type": "path", "regexValue": "^/a"},
                {"type": "header", "name": "^k$", "regexValue": "^(?<p>.+)$"},
            ],
            "action": "classify",
            "classify": PREFIX,
        }
    )
    assert ask(rules, Request.of("/a", {"k": "cell-2"})).cell == "cell-2"
    assert ask(rules, Request.of("/b", {"k": "cell-2"})).cell is None
    assert ask(rules, Request.of("/a")).cell is None


def test_the_first_claim_of_a_chain_that_is_owned_wins() -> None:
    claims = {"classify": {"claims": [{"route": "${n}"}, {"redirectRoute": "${n}"}]}}
    rules = ruleset(
        {"match": {"type": "path", "regexValue": "^/(?<n>[^/]+)"}, "action": "classify"} | claims
    )
    one = ask(rules, Request.of("/x/y"), {"route:x": 1, "redirect_route:x": 2})
    two = ask(rules, Request.of("/x/y"), {"redirect_route:x": 2})
    assert (one.cell, one.matched_claim) == ("cell-1", ("route", "x"))
    assert (two.cell, two.matched_claim) == ("cell-2", ("redirect_route", "x"))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/%66oo/x", "foo"),
        ("/%C3%BC", "ü"),
        ("/%ff", "%ff"),
        ("/a%00b", "a%00b"),
        ("/a%E2%80%8Db", "a\u200db"),
        ("/a%C2%A0b", "a\u00a0b"),
        ("/a%C2%85b", "a%C2%85b"),
        ("/a%2Fb", "a/b"),
    ],
)
def test_captures_of_the_path_are_decoded_once(path: str, value: str) -> None:
    rules = ruleset(
        {
            "match": {"type": "path", "regexValue": "^/(?<n>[^/]+)"},
            "action": "classify",
            "classify": {"claims": [{"route": "${n}"}]},
        }
    )
    assert ask(rules, Request.of(path), {f"route:{value}": 3}).cell == "cell-3"


@pytest.mark.parametrize(
    ("policy", "outcome"),
    [
        ("next", ToCell("cell-3", 3)),
        ({"cell": "cell-2"}, ToCell("cell-2", 2)),
        ({"cell": "cell-9"}, Status(503, 5)),
        ("weighted", Weighted((("cell-1", 100), ("cell-2", 100), ("cell-3", 100)))),
        ({"weighted": {"cell-1": 9, "cell-2": 1}}, Weighted((("cell-1", 9), ("cell-2", 1)))),
        ({"status": 404}, Status(404)),
        (451, Status(451)),
        (503, Status(503, 5)),
    ],
)
def test_what_an_unknown_key_gets(policy: Any, outcome: Any) -> None:
    last = {"action": "proxy", "proxy": {"cell": "cell-3"}}
    rules = ruleset(cookie_rule(on_unknown=policy), last)
    assert ask(rules, Request.of("/", {"cookie": "session=cell-77-x"})).outcome == outcome


@pytest.mark.parametrize(
    ("policy", "outcome"),
    [
        ("next", ToCell("cell-3", 3)),
        ({"cell": "cell-3"}, ToCell("cell-3", 3)),
        ({"cell": "cell-2"}, Status(503, 5)),
        ("weighted", Weighted((("cell-1", 100), ("cell-3", 100)))),
        ({"weighted": {"cell-2": 1}}, Status(503, 5)),
        ({"weighted": {"cell-2": 1, "cell-1": 1}}, Weighted((("cell-1", 1),))),
        (502, Status(502)),
    ],
)
def test_what_a_dead_cell_gets(policy: Any, outcome: Any) -> None:
    last = {"action": "proxy", "proxy": {"cell": "cell-3"}}
    rules = ruleset(cookie_rule(on_cell_down=policy), last)
    dead = FakeCell(2, serving=False, accepts_new=False)
    request = Request.of("/", {"cookie": "session=cell-2-x"})
    assert ask(rules, request, None, FakeCell(1), dead, FakeCell(3)).outcome == outcome


def test_proxy_by_address_first_cell_and_weights() -> None:
    assert ask(ruleset({"proxy": {"address": "CELL-2.example.com"}}), Request.of()).cell == "cell-2"
    assert ask(ruleset({"proxy": {"address": "no.example"}}), Request.of()).cell is None
    first = {"action": "classify", "classify": {"type": "FIRST_CELL"}}
    assert ask(ruleset(first), Request.of()).cell == "cell-1"
    weighted = ask(ruleset({"proxy": {"weighted": {"cell-3": 7}}}), Request.of())
    assert weighted.outcome == Weighted((("cell-3", 7),))
    nobody = ask(ruleset({}), Request.of(), None, FakeCell(1, accepts_new=False))
    assert nobody.outcome == Status(503, 5)


def token_rule(**more: Any) -> dict[str, Any]:
    return {
        "match": {"type": "header", "name": "^t$", "regexValue": "^(?<token>.+)$"},
        "transform": {"type": "routable-token-payload", "input": ["${token}"], "output": "d"},
        "validate": {"exist": ["${d.c}"]},
        "action": "classify",
        "classify": {"type": "CELL_ID", "value": "${d.c}"},
    } | more


def test_tokens_name_cells_in_base36() -> None:
    token = encode_routable_token("glpat-", {"c": 2, "u": 9}, bytes(16))
    assert ask(ruleset(token_rule()), Request.of(headers={"t": token})).key == "cell_id:2"
    big = encode_routable_token("glpat-", {"c": 46}, bytes(16))
    assert ask(ruleset(token_rule()), Request.of(headers={"t": big})).outcome == Status(404)
    only_organization = encode_routable_token("glpat-", {"o": 2}, bytes(16))
    decision = ask(ruleset(token_rule()), Request.of(headers={"t": only_organization}))
    assert decision.trace[0].why == "d.c does not exist"


@pytest.mark.parametrize(("policy", "code"), [("next", 404), (400, 400)])
def test_what_a_malformed_token_gets(policy: Any, code: int) -> None:
    rules = ruleset(token_rule(on_invalid=policy))
    assert ask(rules, Request.of(headers={"t": "garbage"})).outcome == Status(code)


def test_transforms_build_on_each_other() -> None:
    payload = base64.urlsafe_b64encode(json.dumps({"c": "2"}).encode()).decode().rstrip("=")
    basic = base64.b64encode(f"user:jwt.{payload}.sig".encode()).decode()
    rules = ruleset(
        {
            "match": {"type": "header", "name": "^authorization$", "regexValue": "^Basic (?<b>.+)$"},
            "transform": [
                {"type": "decode-base64-match", "input": "${b}", "output": "x",
                 "regexValue": ":jwt\\.(?<p>[^.]+)\\."},
                {"type": "base64-json", "input": ["${x.p}"], "output": "y"},
            ],
            "action": "classify",
            "classify": {"type": "CELL_ID", "value": "${y.c}"},
        }
    )  # fmt: skip
    assert ask(rules, Request.of(headers={"authorization": f"Basic {basic}"})).cell == "cell-2"


def test_the_trace_says_why_of_each_rule() -> None:
    rules = ruleset(cookie_rule(), token_rule(), {"proxy": {"cell": "cell-1"}})
    trace = ask(rules, Request.of("/", {"cookie": "session=cell-7-x"})).trace
    assert [(step.rule, step.result) for step in trace] == [
        ("r0", "unknown"),
        ("r1", "skipped"),
        ("r2", "decided"),
    ]
    assert all(step.why for step in trace)


header_names = st.sampled_from(
    ["cookie", "authorization", "private-token", "job-token", "x", "host"]
)
requests = st.builds(
    lambda path, headers, authority: Request("GET", authority, b"/" + path, tuple(headers)),
    st.binary(max_size=80),
    st.lists(st.tuples(header_names, st.binary(max_size=80)), max_size=4),
    st.binary(max_size=20),
)
RULESET = Path(__file__).parents[2] / "rulesets" / "gitlab.json"
GITLAB = parse(RULESET.read_text())


@given(requests)
@settings(max_examples=400, deadline=None)
def test_no_request_makes_it_raise(request: Request) -> None:
    decision = ask(GITLAB, request, {"route:a": 1})
    assert decision.trace


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "ab", "c"]), st.booleans(), st.integers(1, 4)),
        min_size=1,
        max_size=6,
    ),
    st.text("abc", max_size=4),
)
@settings(max_examples=200, deadline=None)
def test_the_first_rule_that_answers_decides(rules: list[tuple[str, bool, int]], path: str) -> None:
    made = [
        {
            "match": {"type": "path", "regexValue": f"^/{text}", "invert": invert},
            "action": "classify",
            "classify": {"type": "CELL_ID", "value": str(cell)},
        }
        for text, invert, cell in rules
    ]
    expected = next(
        (
            f"cell-{cell}"
            for text, invert, cell in rules
            if path.startswith(text) is not invert and cell <= 3
        ),
        None,
    )
    assert ask(ruleset(*made), Request.of(f"/{path}")).cell == expected
