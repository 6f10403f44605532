"""The tree that finds a known key's cell says what the evaluator says, however a header is written."""

from __future__ import annotations

import string
from functools import cache
from typing import Any

import pytest
from envoy.config.route.v3 import route_components_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from xds.type.matcher.v3 import matcher_pb2

from control_plane.compiler.key_tree import MAX_BRANCHES, KeyTree, branches
from control_plane.compiler.matchers import to_route
from control_plane.compiler.native.analyse import KeyLookup, NativeRule, analyse
from control_plane.routing.evaluate import decide
from control_plane.routing.model import Cells, Request
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.regex import Regex
from control_plane.routing.rules.ruleset import Ruleset
from tests.support.cells import FakeCell

COOKIE = {"type": "cookie", "name": "^_s_?[0-9a-f]*$"}
PATTERNS = (
    r"^(?<p>[a-c0-9]+)-",
    r"^v1:(?<p>[a-c0-9]+)-",
    r"^(?<p>[a-c0-9]+)$",
    r"^(?<p>[a-c0-9]+)",
    r"^[xy](?<p>[a-c0-9]+)-",
)


@cache
def ruleset(pattern: str, *, header: bool) -> Ruleset:
    match = {"type": "header", "name": "^x-cell$"} if header else COOKIE
    rule = {
        "id": "keyed",
        "match": {**match, "regexValue": pattern},
        "action": "classify",
        "classify": {"type": "SESSION_PREFIX", "value": "${p}"},
        "on_unknown": 404,
        "on_cell_down": 503,
        "on_classifier_down": 503,
    }
    return parse([rule])


def lookup_of(rules: Ruleset) -> KeyLookup:
    native = analyse(rules.rules[0])
    assert isinstance(native, NativeRule)
    assert native.lookup is not None
    return native.lookup


def prefixed(prefixes: list[str]) -> Cells:
    return Cells(FakeCell(number, prefix=prefix) for number, prefix in enumerate(prefixes, 1))


def tree(lookup: KeyLookup, texts: list[str]) -> Any:
    def cell_of(text: str) -> Any:
        return to_route(route_components_pb2.Route(name=text))

    found = matcher_pb2.Matcher.OnMatch()
    KeyTree(lookup, cell_of).fill(found, sorted(texts))
    return found


def walk(on_match: Any, value: bytes) -> str:
    """What Envoy does with a tree: the first element that holds, else what there is for no match."""
    while on_match.HasField("matcher"):
        matcher = on_match.matcher
        for element in matcher.matcher_list.matchers:
            test = element.predicate.single_predicate.value_match
            kind = test.WhichOneof("match_pattern")
            if (
                (kind == "contains" and test.contains.encode() in value)
                or (kind == "prefix" and value.startswith(test.prefix.encode()))
                or (kind == "safe_regex" and Regex(f"^(?:{test.safe_regex.regex})$").matches(value))
            ):
                on_match = element.on_match
                break
        else:
            assert matcher.HasField("on_no_match"), "a known key must lead somewhere"
            on_match = matcher.on_no_match
    route = route_components_pb2.Route()
    assert on_match.action.typed_config.Unpack(route)
    return str(route.name)


def check(pattern: str, prefixes: list[str], value: str, *, header: bool) -> bool:
    """Whether the header reaches the tree; if so, the tree must agree with the evaluator."""
    rules = ruleset(pattern, header=header)
    lookup, known = lookup_of(rules), prefixed(prefixes)
    texts = lookup.texts(known.by_prefix)
    raw = value.encode("latin-1")
    request = Request("GET", b"a", b"/", (("x-cell" if header else "cookie", raw),))

    def holds(regex: str) -> bool:
        return Regex(f"^(?:{regex})$").matches(raw)

    if not texts or (lookup.mark and holds(lookup.twice().regex)):
        return False
    if not holds(lookup.holds(texts).regex):
        return False
    decision = decide(rules, request, known, lambda keys: [None] * len(keys))
    found = walk(tree(lookup, list(texts)), raw)
    assert known.by_prefix[texts[found]].name == decision.cell
    return True


keys = st.text("abc012", min_size=1, max_size=4)
key_sets = st.lists(keys, min_size=1, max_size=30, unique=True)


@st.composite
def headers(draw: st.DrawFn, known: list[str], *, header: bool) -> str:
    def value() -> str:
        lead = draw(st.sampled_from(["", "v1:", "x", " ", "z"]))
        key = draw(st.sampled_from(known) | keys)
        return lead + key + draw(st.sampled_from(["-", "-x", "", "-1", "\x80", " ", "-_s=a-"]))

    if header:
        return value()
    names = st.sampled_from(["_s", "_s_0a", "_s ", "_s_", "a", "_t", "a_s"])
    blank = st.sampled_from(["", "", " ", "\t"])
    pairs = draw(st.lists(st.tuples(blank, names, blank), min_size=1, max_size=3))
    return ";".join(f"{before}{name}={after}{value()}" for before, name, after in pairs)


@given(st.data(), st.sampled_from(PATTERNS), key_sets, st.booleans())
@settings(max_examples=1500, deadline=None)
def test_the_tree_finds_the_evaluators_cell(
    data: st.DataObject, pattern: str, known: list[str], header: bool
) -> None:
    check(pattern, known, data.draw(headers(known, header=header)), header=header)


@given(st.data(), st.integers(1, 400))
@settings(max_examples=50, deadline=None)
def test_numbered_cells_are_all_found(data: st.DataObject, count: int) -> None:
    known = [str(number) for number in range(1, count + 1)]
    wanted = data.draw(st.sampled_from(known))
    for written in ("a=b; _s={}-x", "_s_0a={}-x", " _s\t= {}-x;c=1-", "c=_t={}-; _s={}-"):
        assert check(PATTERNS[0], known, written.replace("{}", wanted), header=False)
    assert check(PATTERNS[0], known, f"{wanted}-x", header=True)


@pytest.mark.parametrize(
    ("pattern", "value"),
    list(zip(PATTERNS, ["{}-", "v1:{}-x", "{}", "{}", "x{}-"], strict=True)),
)
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("known", [["0", "1", "2"], ["1", "10", "100", "2", "2a"]])
def test_each_key_is_found_by_each_pattern(
    pattern: str, value: str, header: bool, known: list[str]
) -> None:
    for key in known:
        text = value.replace("{}", key)
        assert check(pattern, known, text if header else f"_s={text}", header=header)


def test_with_plain_writing_few_regexes_are_left() -> None:
    lookup = lookup_of(ruleset(PATTERNS[0], header=False))
    found = tree(lookup, [str(number) for number in range(1, 1001)])
    kinds: list[str] = []
    while found.HasField("matcher"):
        for element in found.matcher.matcher_list.matchers:
            test = element.predicate.single_predicate.value_match
            kinds.append(str(test.WhichOneof("match_pattern")))
            if kinds[-1] == "contains" and test.contains.encode() in b"_s=777-":
                found = element.on_match
                break
        else:
            found = found.matcher.on_no_match
    assert set(kinds) == {"contains"}
    assert len(kinds) <= 3 * MAX_BRANCHES


DEEP = ["a" * length for length in range(1, 65)]
WIDE = [one + two for one in string.ascii_lowercase for two in string.ascii_lowercase]


@pytest.mark.parametrize("known", [DEEP, WIDE, [*DEEP, *WIDE[1:]]], ids=["deep", "wide", "both"])
@pytest.mark.parametrize("header", [True, False])
def test_envoy_can_read_however_keys_are_called(known: list[str], header: bool) -> None:
    rules = ruleset(r"^(?<p>[a-z]+)-", header=header)
    lookup = lookup_of(rules)
    texts = sorted(known)
    found = tree(lookup, texts)
    assert depth(found) < 80, "Envoy reads 100, and the route table around it takes some"
    for text in texts:
        value = f"{text}-x" if header else f"_s={text}-x"
        assert walk(found, value.encode()) == text


def depth(message: Message) -> int:
    """How deep messages are nested; what is packed into an Any is read by itself."""
    most = 0
    for _, value in message.ListFields():
        for inner in [value] if isinstance(value, Message) else value:
            if isinstance(inner, Message) and not isinstance(inner, AnyMessage):
                most = max(most, depth(inner))
    return most + 1


@given(st.sets(st.text("ab", min_size=1, max_size=5), min_size=2, max_size=20))
def test_branches_part_all_texts_by_their_start(texts: set[str]) -> None:
    ended = [f"{text}-" for text in texts]
    parts = branches(ended)
    assert len(parts) > 1
    assert sorted(text for part in parts for text in part.texts) == sorted(ended)
    for part in parts:
        assert all((text in part.texts) == text.startswith(part.start) for text in ended)
    sizes = [len(part.texts) for part in parts]
    assert sizes == sorted(sizes, reverse=True)


def test_a_name_with_an_equals_sign_has_no_lookup() -> None:
    match = {"type": "cookie", "name": "^a=b$", "regexValue": PATTERNS[0]}
    rule = {"id": "r", "match": match, "action": "classify"}
    rules = parse([{**rule, "classify": {"type": "SESSION_PREFIX", "value": "${p}"}}])
    native = analyse(rules.rules[0])
    assert not isinstance(native, NativeRule) or native.lookup is None
