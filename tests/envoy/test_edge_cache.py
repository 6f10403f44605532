"""The edge cache's Lua by itself, in the interpreter that Envoy has: LuaJIT."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lupa.luajit21 import LuaRuntime

from control_plane.compiler.edge_cache import to_lua
from tests.envoy.lua_edge import DIGEST, NAMES, Answer, Edge, answering


def test_what_was_answered_is_not_asked_again() -> None:
    edge = Edge(classifier=answering(Answer("cell-1", 5)))
    first, second = edge.get("/t/a/x?q=1"), edge.get("/t/a/y")
    assert len(edge.asked) == 1
    assert first[0] | {"x-cellway-tier": "edge-cache"} == second[0]
    assert first[0]["x-cellway-tier"] == "classifier"
    assert first[1]
    assert second[1]
    assert edge.asked[0] == {
        ":method": "GET", ":path": "/t/a/x?q=1", ":authority": "a",
        "x-cellway-known": f"1 {DIGEST}",
    }  # fmt: skip
    edge.get("/t/b/x", **{":method": "POST"})
    assert edge.asked[1] == {
        ":method": "GET", ":path": "/t/b/x", ":authority": "a", "x-cellway-known": f"1 {DIGEST}",
        "x-cellway-method": "POST",
    }  # fmt: skip


def test_an_answer_that_rests_on_no_claim_is_kept_until_cells_or_rules_change() -> None:
    edge = Edge(classifier=answering(Answer("cell-1", 5, ())))
    edge.get("/t/a/"), edge.get("/t/a/")
    assert len(edge.asked) == 1
    edge.epochs = "6;"
    edge.get("/t/a/")
    assert len(edge.asked) == 2


def test_an_answer_by_lot_is_not_kept() -> None:
    edge = Edge(classifier=answering(Answer("cell-1", 0)))
    assert edge.cell("/t/a/") == edge.cell("/t/a/") == "cell-1"
    assert len(edge.asked) == 2


def test_an_answer_that_is_none_routes_nowhere() -> None:
    edge = Edge(classifier=answering(Answer("", 5)))
    assert edge.get("/t/a/") == ({"x-envoy-auth-failure-mode-allowed": "true"}, True)


def test_a_raised_epoch_forgets_its_shard_and_no_other() -> None:
    edge = Edge(classifier=lambda q: Answer("cell-1", 5, (1,) if "/a/" in q[":path"] else (2,)))
    edge.get("/t/a/"), edge.get("/t/b/")
    edge.epochs = "1;1:6"
    edge.get("/t/a/"), edge.get("/t/b/")
    known = [asked["x-cellway-known"] for asked in edge.asked]
    assert known == [f"{revision} {DIGEST}" for revision in (1, 1, 6)]
    assert [asked[":path"] for asked in edge.asked] == ["/t/a/", "/t/b/", "/t/a/"]
    # That answer was computed at revision 5 once more, before the move: it is not kept.
    edge.get("/t/a/")
    assert len(edge.asked) == 4


def test_a_change_of_cells_or_rules_forgets_everything() -> None:
    edge = Edge(classifier=answering(Answer("cell-1", 5)))
    edge.get("/t/a/")
    edge.epochs = "6;"
    edge.get("/t/a/")
    assert len(edge.asked) == 2


@pytest.mark.parametrize("epochs", ["", "nonsense", ";1:2"])
def test_without_epochs_nothing_is_kept(epochs: str) -> None:
    edge = Edge(classifier=answering(Answer("cell-1", 5)), epochs=epochs)
    assert edge.cell("/t/a/") == edge.cell("/t/a/") == "cell-1"
    assert len(edge.asked) == 2


def test_an_answer_ends_by_time() -> None:
    edge = Edge(classifier=answering(Answer("!404", 5, ttl=1000)))
    edge.get("/t/a/")
    edge.now += 800
    edge.get("/t/a/")
    assert len(edge.asked) == 1
    edge.now += 201
    edge.get("/t/a/")
    assert len(edge.asked) == 2


def test_an_answer_of_another_rule_is_kept_for_the_same_credentials_only() -> None:
    edge = Edge(classifier=lambda q: Answer(f"cell-{len(q.get('x-token', ''))}", 5, rule="token"))
    assert edge.cell("/t/a/", x_token="x") == "cell-1"
    assert edge.cell("/t/a/", x_token="xx") == "cell-2"
    assert edge.cell("/t/a/") == "cell-0"
    assert edge.cell("/t/a/", x_token="x") == "cell-1"
    assert len(edge.asked) == 3


def test_a_dead_classifier_leaves_what_is_known_for_a_while() -> None:
    edge = Edge(classifier=answering(Answer("cell-1", 5)))
    edge.get("/t/a/")
    edge.classifier = answering(None)
    edge.now += 3_000_000
    stale, cleared = edge.get("/t/a/")
    assert (stale["x-cellway-cell"], stale["x-cellway-stale"], cleared) == ("cell-1", "1", True)
    assert edge.get("/t/b/") == ({"x-envoy-auth-failure-mode-allowed": "true"}, True)
    edge.epochs = "1;1:6"
    assert "x-cellway-cell" not in edge.get("/t/a/")[0]
    edge.epochs = "1;"
    edge.now += 3_600_000
    assert "x-cellway-cell" not in edge.get("/t/a/")[0]


def test_what_can_not_be_kept_is_asked_each_time() -> None:
    edge = Edge(classifier=answering(Answer("cell-1", 5)))
    long = f"/t/{'a' * 2000}/"
    edge.get(long), edge.get(long)
    assert len(edge.asked) == 2


def test_random_keys_neither_grow_it_nor_push_out_what_is_used() -> None:
    choose = random.Random(1)
    known = [f"/t/known-{number}/" for number in range(50)]
    edge = Edge(
        entries=200,
        classifier=lambda q: (
            Answer("cell-1", 5) if "known" in q[":path"] else Answer("!404", 5, ttl=1000)
        ),
    )
    for path in known:
        edge.get(path)
    asked = len(edge.asked)
    for number in range(3000):
        edge.get(f"/t/{choose.random()}/")
        edge.get(known[number % 50])
    assert sum("known" in q[":path"] for q in edge.asked[asked:]) == 0
    last = dict(part.split("=") for part in edge.reports[-1].split())
    assert int(last["entries"]) <= 220


@pytest.mark.parametrize(
    ("shards", "rule"), [((), "token"), ((2,), "token"), ((2,), "-")], ids=["cell", "claim", "none"]
)
def test_made_up_tokens_push_out_no_name(shards: tuple[int, ...], rule: str) -> None:
    """A token that names a cell, one with an organization that exists, and one that is ignored."""
    known = [f"/t/known-{number}/" for number in range(50)]
    edge = Edge(
        entries=200,
        classifier=lambda q: (
            Answer("cell-2", 5, shards, rule) if "x-token" in q else Answer("cell-1", 5)
        ),
    )
    for path in known:
        edge.get(path)
    for route in (NAMES.by_rule["tenant"], NAMES.by_rule["token"]):
        for number in range(1500):
            edge.get("/t/unknown/", route, x_token=f"made-up-{number}")
    asked = len(edge.asked)
    assert asked >= 3050
    for path in known:
        edge.get(path)
    assert len(edge.asked) == asked
    edge.now += 10_000
    edge.get(known[0])
    last = dict(part.split("=") for part in edge.reports[-1].split())
    assert int(last["entries"]) <= 200 + 100 + 20


def test_an_answer_by_the_path_without_a_claim_pushes_out_no_name() -> None:
    edge = Edge(
        entries=200,
        classifier=lambda q: Answer("cell-1", 5, (1,) if "known" in q[":path"] else ()),
    )
    edge.get("/t/known/")
    for number in range(1000):
        edge.get(f"/t/{number}/")
    asked = len(edge.asked)
    edge.get("/t/known/"), edge.get("/t/999/")
    assert len(edge.asked) == asked


def test_counts_are_reported_with_a_question_each_second_and_without_one_each_ten() -> None:
    edge = Edge(classifier=answering(Answer("cell-1", 5)))
    for path in ("/t/a/", "/t/b/", "/t/a/"):
        edge.get(path)
    assert len(edge.reports) == 1
    assert edge.reports[0].startswith("hits=0 misses=1 stale=0 evictions=0 entries=")
    edge.now += 1000
    edge.get("/t/a/"), edge.get("/t/c/")
    assert edge.reports[1].startswith("hits=2 misses=2 ")
    edge.now += 9999
    edge.get("/t/a/")
    assert len(edge.reports) == 2
    edge.now += 1
    edge.get("/t/a/")
    assert edge.reports[2].startswith("hits=2 misses=0 ")
    assert len(edge.asked) == 3


def misdirected(edge: Edge, path: str, noted: str, **headers: str) -> tuple[dict[str, str], bool]:
    """A request that Envoy has begun again after a cell's 421."""
    given = {":authority": "misdirected.invalid", "x-cellway-cell": "!misdirected"} | headers
    given["x-cellway-misdirected"] = noted
    return edge.get(path, NAMES.again, **given)


def test_a_421_forgets_the_entry_and_asks_anew() -> None:
    edge = Edge(classifier=answering(Answer("cell-1", 5)))
    edge.get("/t/a/x"), edge.get("/t/b/x")
    edge.classifier = answering(Answer("cell-2", 5))
    added, cleared = misdirected(edge, "/t/a/x", "PUT 0 cell-1", x_cellway_rule="tenant")
    assert (added["x-cellway-cell"], added["x-cellway-tier"], cleared) == (
        "cell-2",
        "classifier",
        True,
    )
    assert edge.request == {":path": "/t/a/x", ":authority": "a", ":method": "PUT"}
    asked = edge.asked[-1]
    assert (asked["x-cellway-known"], asked["x-cellway-method"]) == (f"- {DIGEST}", "PUT")
    assert asked[":authority"] == "a"
    assert (edge.cell("/t/a/y"), edge.cell("/t/b/y")) == ("cell-2", "cell-1")
    assert len(edge.asked) == 4


def test_a_421_forgets_what_another_rule_answered_for_these_credentials() -> None:
    edge = Edge(classifier=answering(Answer("cell-1", 5, rule="token")))
    edge.cell("/t/a/", x_token="x"), edge.cell("/t/a/", x_token="y")
    edge.classifier = answering(Answer("cell-2", 5, rule="token"))
    misdirected(edge, "/t/a/", "GET 0 cell-1", x_token="x")
    assert edge.cell("/t/a/", x_token="x") == "cell-2"
    assert edge.cell("/t/a/", x_token="y") == "cell-1"


@pytest.mark.parametrize(
    ("noted", "answer"),
    [
        ("POST 3 cell-1", Answer("cell-2", 5)),
        ("GET 0 cell-1", Answer("cell-1", 5)),
        ("GET 0 cell-1", None),
    ],
)
def test_what_can_not_be_asked_again_stays_a_503_and_is_forgotten(
    noted: str, answer: Answer | None
) -> None:
    edge = Edge(classifier=answering(Answer("cell-1", 5)))
    edge.get("/t/a/")
    edge.classifier = answering(answer)
    assert misdirected(edge, "/t/a/", noted) == ({}, False)
    asked = len(edge.asked)
    edge.get("/t/a/")
    assert len(edge.asked) == asked + 1


def test_only_an_unusual_host_is_noted_and_either_comes_back() -> None:
    edge = Edge(classifier=answering(Answer("cell-1", 5)))
    assert "x-cellway-host" not in edge.get("/t/a/")[0]
    assert edge.get("/t/a/", **{":authority": "b"})[0]["x-cellway-host"] == "b"
    edge.classifier = answering(Answer("cell-2", 5))
    misdirected(edge, "/t/a/", "GET 0 cell-1", x_cellway_host="b")
    assert edge.request == {":path": "/t/a/", ":authority": "b", ":method": "GET"}
    misdirected(edge, "/t/a/", "GET 0 cell-1")
    assert edge.request[":authority"] == "a"


def test_random_keys_that_are_forgotten_leave_the_bounds_right() -> None:
    edge = Edge(entries=20, classifier=answering(Answer("cell-1", 5)))
    for number in range(500):
        edge.get(f"/t/{number}/")
        misdirected(edge, f"/t/{number // 2}/", "GET 0 cell-1")
    edge.now += 10_000
    edge.get("/t/last/")
    last = dict(part.split("=") for part in edge.reports[-1].split())
    assert 0 <= int(last["entries"]) <= 22
    assert int(last["misdirected"]) == 500


@given(
    st.dictionaries(
        st.text(max_size=5), st.one_of(st.text(max_size=8), st.integers(0, 9), st.booleans())
    )
)
@settings(max_examples=200, deadline=None)
def test_values_are_written_as_lua_reads_them(values: dict[str, Any]) -> None:
    table = LuaRuntime().eval(to_lua(values))
    assert dict(table) == values
