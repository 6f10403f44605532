"""Tokens are decoded as the evaluator decodes them, whatever is in them."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.routing.rules.parse import parse
from tests.compiler.programs.comparison import Comparison, report, some_cells
from tests.compiler.programs.module_host import OWNED
from tests.compiler.programs.requests import RequestMaker

COUNT = 4000
OWNERS = {("u", "1"): (OWNED, 2), ("a", "1"): (OWNED, 3), ("p", str(36**13 - 1)): (OWNED, 4)}
BASE64 = {
    "type": "decode-base64-match",
    "input": "${v}",
    "regexValue": "^(?<c>[ -~]{1,9})",
    "output": "d",
}


def _rules(kind: str) -> dict[str, Any]:
    """Return rules that tell the cell, a number and a text of a token from each other."""
    transform: dict[str, Any] = {"type": kind, "input": "${v}", "output": "d"}
    if kind == BASE64["type"]:
        transform = BASE64
    rule = {
        "match": {"type": "header", "name": "^x$", "regexValue": "^(?<v>.*)$"},
        "transform": transform,
        "on_invalid": 400,
        "action": "classify",
    }
    cell = {"classify": {"type": "CELL_ID", "value": "${d.c}"}, "on_unknown": 404}
    others = [
        {"classify": {"claims": [{key: f"${{d.{key}}}"}]}, "on_unknown": 404, "on_invalid": 400}
        for key in ("u", "p", "iss", "x", "a")
    ]
    rules = [{"id": f"r{at}"} | rule | one for at, one in enumerate((cell, *others))]
    return {"rules": [*rules, {"id": "none", "action": "proxy", "proxy": {"cell": "cell-5"}}]}


@pytest.mark.parametrize(
    ("kind", "least"),
    [("routable-token-payload", 1.0), ("routable-json", 0.1), ("decode-base64-match", 0.3)],
)
def test_odd_tokens_are_decoded_as_the_evaluator_decodes_them(kind: str, least: float) -> None:
    ruleset = parse(_rules(kind))
    comparison = Comparison(ruleset, some_cells(), OWNERS)
    maker = RequestMaker(kind)
    odd = [maker.odd(ruleset.rules[0]) for _ in range(COUNT)]
    requests = odd + [maker.mutated(fields, odd) for fields in odd]
    report(comparison.differences(requests))
    said = comparison.said(odd)
    assert sum(bool(one.answer) for one in said) >= least * len(said)
    given = {one.answer.split("=")[-1].split(":")[0] for one in comparison.said(requests)}
    assert {"0", "invalid"} <= given
