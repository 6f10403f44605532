"""Keys that name cells are looked up as the evaluator looks them up."""

from __future__ import annotations

import pytest

from control_plane.routing.rules.parse import parse
from tests.compiler.programs.comparison import Comparison, some_cells
from tests.compiler.programs.requests import Fields

KEYS = (
    "1", "01", "001", "6", "7", "0", "00", "-1", "+1", "1x", " 1", "1 2", "4294967297", "18446744073709551617",
    "9999999999999999999", "99999999999999999999", "cell-1", "cell-01", "CELL-1", "cell-", "cell-6", "cell-77", "x" * 2000,
)  # fmt: skip


@pytest.mark.parametrize("kind", ["CELL_ID", "SESSION_PREFIX"])
@pytest.mark.parametrize("on_unknown", [404, "next", {"cell": "cell-2"}])
def test_every_spelling_of_a_key_is_looked_up_alike(kind: str, on_unknown: object) -> None:
    rule = {
        "id": "r",
        "match": {"type": "header", "name": "^x$", "regexValue": "^(?<k>.*)$"},
        "action": "classify",
        "classify": {"type": kind, "value": "${k}"},
        "on_unknown": on_unknown,
    }
    ruleset = parse(
        {"rules": [rule, {"id": "last", "action": "proxy", "proxy": {"cell": "cell-4"}}]}
    )
    comparison = Comparison(ruleset, some_cells(), {})
    requests = [_request(key) for key in KEYS]
    assert not comparison.differences(requests)
    assert all(one.answer for one in comparison.said(requests))


def _request(key: str) -> Fields:
    lead = [(b":method", b"GET"), (b":authority", b"a"), (b":path", b"/")]
    return [*lead, (b"x", key.encode())]
