"""Keys that RE2 can tell apart exactly: what the condition says is what the evaluator captures."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.compiler.native.analyse import AskClassifier, NativeRule, analyse
from control_plane.compiler.native.key_pattern import leading_literal, parse_key_pattern, re2_class
from control_plane.routing.evaluate import decide
from control_plane.routing.model import Request
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.regex import Regex
from tests.support.cells import FakeCell, cells


@pytest.mark.parametrize(
    "pattern",
    [
        r"^(?<p>cell-[0-9]+)-",
        r"^(?<p>cell-\d+)$",
        r"^v1:(?<p>[a-z0-9_]+):",
        r"^(?<p>cell-[0-9]+)",
        r"^(?P<p>a)\.b$",
        r"^(?<p>cell-[0-9])",
        r"^(?<p>[a-f]\d)[a-f]",
    ],
)
def test_plain_patterns_are_read(pattern: str) -> None:
    assert parse_key_pattern(pattern, "p") is not None


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?<p>cell-[0-9]+)-",  # not anchored
        r"^(?<p>[0-9]+)1",  # the run could end in two places
        r"^(?<p>[a-z]+)[a-f]+",
        r"^(?<p>.*)$",
        r"^(?<p>[^-]+)-",
        r"^(?<p>a|b)$",
        r"^(?<p>[0-9]{2})$",
        r"^(?<p>[0-9]*)$",
        r"^(?<p>a?)$",
        r"^(?<q>a)(?<p>b)$",
        r"^(?<p>[a;]+)$",  # a cookie's bound
        r"^(?<p>a b)$",
        r"^(?<p>)$",
        r"^(?i)(?<p>a)$",
        r"^(?<p>[[:alpha:]]+)$",
    ],
)
def test_whatever_else_there_is_is_left_alone(pattern: str) -> None:
    assert parse_key_pattern(pattern, "p") is None


texts = st.text("cell-0123456789x;é", max_size=12)
keys = st.lists(
    st.from_regex(r"cell-[0-9]{1,3}", fullmatch=True), min_size=1, max_size=5, unique=True
)


@given(
    st.sampled_from(
        [r"^(?<p>cell-[0-9]+)-", r"^(?<p>cell-[0-9]+)", r"^(?<p>cell-\d+)$", r"^(?<p>cell-[0-9])"]
    ),
    keys,
    texts,
)
@settings(max_examples=400, deadline=None)
def test_a_key_is_there_exactly_when_it_is_captured(
    pattern: str, known: list[str], text: str
) -> None:
    plain = parse_key_pattern(pattern, "p")
    assert plain is not None
    more = plain.open_ended
    end = rf"(?:[^{re2_class(more)[1:]}\C*)?$" if more else ("$" if plain.closed else "")
    found = Regex(pattern).captures(text.encode())
    wanted = found is not None and found["p"].decode() in plain.matching(known)
    assert Regex(f"^{plain.regex(known)}{end}").matches(text.encode()) is wanted


@pytest.mark.parametrize(
    ("pattern", "lead"),
    [("^_gitlab_session_?[0-9a-f]*$", "_gitlab_session"), ("^force-cell$", "force-cell"),
     ("^(?:a|b)$", ""), ("session", ""), ("^a+$", ""), ("^a|b$", "")],
)  # fmt: skip
def test_what_every_name_starts_with(pattern: str, lead: str) -> None:
    assert leading_literal(pattern) == lead


CELLS = cells(*(FakeCell(number) for number in (1, 2, 12, 3)))
SESSION = parse(
    [
        {
            "id": "session",
            "match": {
                "type": "cookie",
                "name": "^_s_?[0-9a-f]*$",
                "regexValue": "^(?<p>cell-[0-9]+)",
            },
            "action": "classify",
            "classify": {"type": "SESSION_PREFIX", "value": "${p}"},
            "on_unknown": 404,
            "on_cell_down": 503,
            "on_classifier_down": 503,
        }
    ]
)
pairs = st.builds(
    "{}{}={}{}".format,
    st.sampled_from(["", " ", "\t"]),
    st.sampled_from(["_s", "_s_0a", "_sx", "a", "_s_"]),
    st.sampled_from(["", " "]),
    st.sampled_from(
        ["cell-1", "cell-12", "cell-1234", "cell-9-x", "cell-1\x80", "cell-2 ", "_s", ""]
    ),
)


@given(st.lists(pairs, min_size=1, max_size=3).map(";".join))
@settings(max_examples=400, deadline=None)
def test_the_conditions_of_a_cookie_rule_say_what_the_evaluator_decides(cookie: str) -> None:
    """Each condition by itself, as the route table puts them together (the edge has its own test)."""
    (rule,) = SESSION.rules
    native = analyse(rule)
    assert isinstance(native, NativeRule)
    lookup = native.lookup
    assert lookup is not None
    raw = cookie.encode("latin-1")
    request = Request("GET", b"a", b"/", (("cookie", raw),))
    decision = decide(SESSION, request, CELLS, lambda keys: [None] * len(keys))

    def holds(regex: str) -> bool:
        return Regex(f"^(?:{regex})$").matches(raw)

    texts = lookup.texts(CELLS.by_prefix)
    if holds(lookup.twice().regex):
        return  # the classifier is asked
    if holds(lookup.holds(texts).regex):
        (found,) = [text for text in texts if holds(lookup.holds([text]).regex)]
        assert decision.cell == CELLS.by_prefix[texts[found]].name
    elif holds(lookup.whole.regex):
        assert decision.rule == "session"
        assert decision.cell is None
    else:
        assert decision.rule is None


def test_a_rule_whose_key_may_be_read_in_two_ways_asks() -> None:
    rule = parse(
        [{"id": "r", "match": {"type": "header", "name": "^x-cell$", "regexValue": "^(?<p>[0-9]+)1"},
          "action": "classify", "classify": {"type": "CELL_ID", "value": "${p}"}}]
    ).rules[0]  # fmt: skip
    assert isinstance(analyse(rule), AskClassifier)
