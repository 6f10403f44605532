"""The evaluator of the alerts' expressions gives what Prometheus gives, worked out by hand."""

from __future__ import annotations

import pytest

from tests.deploy.promql import History, Scrape, evaluate, fires


def scrape(**values: float) -> Scrape:
    return {
        ("cellway_n", frozenset({("state", "a"), ("cell", "1")})): values.get("a1", 0),
        ("cellway_n", frozenset({("state", "b"), ("cell", "1")})): values.get("b1", 0),
        ("cellway_n", frozenset({("state", "a"), ("cell", "2")})): values.get("a2", 0),
        ("cellway_s_bucket", frozenset({("le", "0.1")})): values.get("quick", 0),
        ("cellway_s_bucket", frozenset({("le", "1.0")})): values.get("all", 0),
        ("cellway_s_bucket", frozenset({("le", "+Inf")})): values.get("all", 0),
    }


HISTORY = History(
    [
        (0, scrape(a1=1, b1=5, a2=9)),
        (60, scrape(a1=4, b1=2, a2=9, quick=98, all=100)),
        (120, scrape(a1=2, b1=2, a2=9, quick=198, all=200)),
    ]
)
ONE, TWO = frozenset({("cell", "1")}), frozenset({("cell", "2")})


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("sum by (cell) (cellway_n) > 3", {ONE: 4, TWO: 9}),
        ("min by (cell) (cellway_n) == 2", {ONE: 2}),
        ("max(cellway_n) >= 9", {frozenset(): 9}),
        ("sum(increase(cellway_n{state=\"a\"}[2m])) > 4", {frozenset(): 5}),
        ("sum(increase(cellway_n{state=\"a\"}[1m])) > 4", {}),
        ("sum(rate(cellway_s_bucket{le=\"0.1\"}[2m])) > 1", {frozenset(): 198 / 120}),
        ("sum(max_over_time(cellway_n{state=\"b\"}[2m])) > 4", {frozenset(): 5}),
        ("sum(max_over_time(cellway_n{state=\"b\"}[1m])) > 4", {}),
        ("absent(cellway_nothing)", {frozenset(): 1}),
        ("absent(cellway_n)", {}),
        ("sum by (cell) (cellway_n) - sum by (cell) (cellway_n) == 0", {ONE: 0, TWO: 0}),
        ("sum by (cell) (cellway_n) > 8 or sum by (cell) (cellway_n) < 8", {ONE: 4, TWO: 9}),
        ("sum by (cell) (cellway_n) > 0 unless max by (cell) (cellway_n) > 8", {ONE: 4}),
        ("cellway_n{state=\"a\"} == ignoring (state) cellway_n{state=\"b\"}",
         {frozenset({("state", "a"), ("cell", "1")}): 2}),
        ("histogram_quantile(0.98, sum by (le) (rate(cellway_s_bucket[2m]))) > 0.02", {frozenset(): 0.1}),
        ("histogram_quantile(0.999, sum by (le) (rate(cellway_s_bucket[2m]))) > 0.2", {frozenset(): 1}),
    ],
)  # fmt: skip
def test_expressions(expression: str, result: dict[frozenset[tuple[str, str]], float]) -> None:
    assert evaluate(expression, HISTORY) == pytest.approx(result)


def test_an_alert_fires_when_its_condition_has_held_long_enough() -> None:
    assert fires("min(cellway_n) > 1", "1m", HISTORY)
    assert not fires("min(cellway_n) > 1", "2m", HISTORY)
    assert not fires("max(cellway_n) > 9", "1m", HISTORY)


def test_what_it_does_not_know_fails() -> None:
    for text in ("topk(1, cellway_n) > 1", "cellway_n offset 5m > 1", 'cellway_n{a=~"x"} > 1'):
        with pytest.raises(AssertionError):
            evaluate(text, HISTORY)
