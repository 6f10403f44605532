"""Answers as bytes: what Envoy's filter reads, and what the edge's cache may keep for how long."""

from __future__ import annotations

import pytest

from control_plane.classifier import answer
from control_plane.classifier.answer import AnswerEncoder, answer_headers
from control_plane.classifier.decide import Verdict
from control_plane.routing.model import Decision, Outcome, Status, ToCell, Weighted


def verdict(
    outcome: Outcome, *shards: int, negative: bool = False, rule: str | None = "r"
) -> Verdict:
    return Verdict(Decision(outcome, rule, None, "why"), 90, shards, negative)


TO_CELL = ToCell("cell-1", 1)


@pytest.mark.parametrize(
    ("given", "terms"),
    [
        (verdict(TO_CELL, 7), b"90 60000 7"),
        (verdict(TO_CELL, 9, 7, 9), b"90 60000 7,9"),
        (verdict(TO_CELL), b"90 60000 -"),
        (verdict(Status(404), 7, negative=True), b"90 1000 7"),
    ],
)
def test_terms_have_the_revision_the_time_and_each_shard_once(given: Verdict, terms: bytes) -> None:
    encoder = AnswerEncoder()
    assert encoder.response(given, cache=False).endswith(b"\r\nx-cellway-cache: %b\r\n\r\n" % terms)
    assert encoder.response(given, cache=True).endswith(b" r %b\r\n\r\n" % terms)


def test_the_filter_gets_several_headers_and_the_cache_one() -> None:
    encoder = AnswerEncoder()
    assert encoder.response(verdict(TO_CELL, 7), cache=False).split(b"\r\n")[:5] == [
        b"HTTP/1.1 200 OK",
        b"content-length: 0",
        b"x-cellway-cell: cell-1",
        b"x-cellway-rule: r",
        b"x-cellway-tier: classifier",
    ]
    assert encoder.response(verdict(TO_CELL, 7), cache=True).split(b"\r\n")[:2] == [
        b"HTTP/1.1 204 No Content",
        b"x-cellway-answer: cell-1 r 90 60000 7",
    ]


def test_a_refusal_is_no_status_of_ours_and_no_rule_is_a_dash() -> None:
    response = AnswerEncoder().response(verdict(Status(503, 5), rule=None), cache=False)
    assert response.startswith(b"HTTP/1.1 200 OK")
    assert b"x-cellway-cell: !503\r\nx-cellway-rule: -\r\n" in response


def test_a_weighted_choice_is_made_each_time_and_never_cached() -> None:
    choice = verdict(Weighted((("cell-1", 1), ("cell-2", 1))), 7)
    encoder = AnswerEncoder()
    responses = {encoder.response(choice, cache=True) for _ in range(100)}
    assert responses == {
        b"HTTP/1.1 204 No Content\r\nx-cellway-answer: cell-%d r\r\n\r\n" % n for n in (1, 2)
    }
    chosen = dict(answer_headers(choice.decision))["x-cellway-cell"]
    assert chosen in {"cell-1", "cell-2"}


def test_heads_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "MAX_HEADS", 3)
    encoder = AnswerEncoder()
    for number in range(10):
        response = encoder.response(verdict(TO_CELL, rule=f"r{number}"), cache=False)
        assert b"x-cellway-rule: r%d\r\n" % number in response
        assert len(encoder._heads) <= 3


@pytest.mark.parametrize("outcome", [TO_CELL, Status(503, 5)])
def test_an_answer_for_a_claim_that_a_move_holds_is_never_cached(outcome: Outcome) -> None:
    held = verdict(outcome, 7, negative=True)._replace(held=True)
    encoder = AnswerEncoder()
    assert b"x-cellway-cache" not in encoder.response(held, cache=False)
    line = encoder.response(held, cache=True).split(b"\r\n")[1]
    assert len(line.split()) == 3, "header, cell and rule, but no terms"
    assert b" 60000 " in encoder.response(verdict(outcome, 7), cache=True)
