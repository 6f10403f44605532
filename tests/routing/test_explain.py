"""Explanations of decisions as plain JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.routing.explain import InvalidURL, decision_document, explain, split_url
from control_plane.routing.model import Decision, Status, Step, ToCell, Weighted
from control_plane.routing.rules.parse import parse
from tests.support.cells import cells, owners

RULES = parse(
    [
        {
            "id": "host",
            "match": {"type": "host", "regexValue": "^(?<h>a|b)$"},
            "action": "classify",
            "classify": {"claims": [{"host": "${h}"}]},
        },
        {"id": "any", "action": "proxy"},
    ]
)


def explained(url: str, headers: Sequence[tuple[str, str]] = (), method: str = "GET") -> Any:
    claims = owners({"host:a": 1, "host:b": 2})
    return explain(RULES, cells(), claims, url=url, method=method, headers=headers)


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("https://a.test/b?c", "a.test", "/b?c"),
        ("HTTP://a:80", "a:80", "/"),
        ("http://a?b", "a", "/?b"),
        ("/b#c", "localhost", "/b#c"),
        ("?b", "localhost", "/?b"),
        ("*", "localhost", "*"),
        ("", "localhost", "/"),
    ],
)
def test_a_url_has_an_authority_and_a_target(url: str, authority: str, target: str) -> None:
    assert split_url(url) == (authority, target)


@pytest.mark.parametrize("url", ["ftp://a/b", "a.test/b", "http:///b", "//a#b ".strip("/")])
def test_what_is_no_url_is_refused_with_a_hint(url: str) -> None:
    with pytest.raises(InvalidURL, match="write https://host/path or /path"):
        split_url(url)


@given(st.text(max_size=20))
def test_no_text_makes_it_raise_anything_else(text: str) -> None:
    try:
        explained(text, [("host", text)])
    except InvalidURL:
        return


def test_a_decision_is_shown_with_its_claim_and_its_trace() -> None:
    document = explained("http://b/x", method="get")
    assert document["outcome"] == {"cell": "cell-2"}
    assert document["matched_claim"] == ["host", "b"]
    assert [(step["rule"], step["result"]) for step in document["trace"]] == [("host", "decided")]
    assert json.loads(json.dumps(document)) == document


def test_a_host_header_goes_before_the_urls_host() -> None:
    assert explained("http://b/x", [("Host", "a")])["cell"] == "cell-1"


def test_what_the_edge_refuses_reaches_no_rule() -> None:
    document = explained("http://a/x#y")
    assert document["outcome"] == {"status": 400}
    assert document["rule"] is None
    assert document["trace"] == []
    assert document["reason"].startswith("the edge refuses it: ")


@pytest.mark.parametrize(
    ("outcome", "shown"),
    [
        (ToCell("c", 1), {"cell": "c"}),
        (Status(503, 5), {"status": 503}),
        (Weighted((("c", 1), ("d", 2))), {"weighted": {"c": 1, "d": 2}}),
    ],
)
def test_each_kind_of_outcome_has_its_own_member(outcome: Any, shown: dict[str, Any]) -> None:
    decision = Decision(outcome, "r", None, "why", None, (Step("r", "decided", "why"),))
    document = decision_document(decision)
    assert document["outcome"] == shown
    assert document["matched_claim"] is None
    assert document["trace"] == [{"rule": "r", "result": "decided", "why": "why"}]
