"""A bounded model of the edge cache: every interleaving of moves, pushes and questions.

One shard with one name, one edge. A move commits a new owner and raises the shard's epoch; a push
brings the newest epochs to the edge (xDS: never older after newer). A question is asked; the
classifier reads its revision, then the owner (two steps: the worst of all views), and answers; the
answer is stored, or not, and later questions may hit it. The model visits every reachable state and
checks each request served: if the edge knew of a move when the request came, it never goes to the
owner from before it.

The revision that an answer carries is a lower bound of what the look-up saw, as in
`control_plane.classifier.decide`. The check on hits is the one that the edge's Lua makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from tests.support import interleavings

MOVES = 3
QUESTIONS = 3


@dataclass(frozen=True, slots=True)
class Question:
    """On its way: revision None until the view is read, owner None until the look-up."""

    known: int
    """The epoch that the edge ran with when it asked."""
    revision: int | None = None
    owner: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What the edge has stored."""

    revision: int
    owner: int


@dataclass(frozen=True, slots=True)
class State:
    """The owner of the name is the number of the revision that made it so."""

    revision: int = 0
    known: int = 0
    """The epoch that the edge runs with."""
    asked: int = 0
    flying: tuple[Question, ...] = ()
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """The checks of the protocol; tests take one away and expect the race."""

    check_stored: bool = True
    """Hits are checked: entry's revision against the epoch."""
    revision_first: bool = True
    """The classifier reads the revision before the owner, not after it."""
    claim_now: bool = False
    """The entry takes the epoch known when it is stored for its revision: the naive way."""


Served = tuple[int, int]
"""The owner that a request was sent to, and the least that it may be."""
Step = tuple[str, State, Served | None]


def steps(state: State, rules: Rules) -> Iterator[Step]:
    """Everything that may happen next: (what, state after, what was served)."""
    if state.revision < MOVES:
        yield "move", replace(state, revision=state.revision + 1), None
    # A push may skip revisions, and may be late by any time.
    for at in range(state.known + 1, state.revision + 1):
        yield f"push {at}", replace(state, known=at), None
    entry = state.entry
    if entry is not None and (not rules.check_stored or entry.revision >= state.known):
        yield "hit", state, (entry.owner, state.known)
    if state.asked < QUESTIONS:
        flying = (*state.flying, Question(state.known))
        yield "ask", replace(state, asked=state.asked + 1, flying=flying), None
    for place, question in enumerate(state.flying):
        yield from _go_on(state, place, question, rules)


def _go_on(state: State, place: int, question: Question, rules: Rules) -> Iterator[Step]:
    """One question's next step."""
    others = state.flying[:place] + state.flying[place + 1 :]

    def flying(changed: Question) -> State:
        return replace(state, flying=(*others, changed))

    first, second = ("revision", "owner") if rules.revision_first else ("owner", "revision")
    if getattr(question, first) is None:
        yield f"read {first}", flying(replace(question, **{first: state.revision})), None
    elif getattr(question, second) is None:
        yield f"read {second}", flying(replace(question, **{second: state.revision})), None
    else:
        assert question.revision is not None
        assert question.owner is not None
        revision = state.known if rules.claim_now else question.revision
        stored = Entry(revision, question.owner)
        served = (question.owner, question.known)
        yield "store", replace(state, flying=others, entry=stored), served
        yield "keep nothing", replace(state, flying=others), served


def explore(rules: Rules) -> tuple[int, list[str] | None]:
    """The number of states, and the shortest way to a stale hit, if there is one."""

    def next_steps(state: State) -> Iterator[tuple[str, State, str | None]]:
        for what, after, served in steps(state, rules):
            # Owners are numbered by the revision that made them: an older one is stale.
            stale = served is not None and served[0] < served[1]
            yield what, after, "it is stale" if stale else None

    return interleavings.explore(State(), next_steps)


def test_no_interleaving_gives_a_stale_hit_once_the_edge_knows_of_the_move() -> None:
    states, stale = explore(Rules())
    assert stale is None
    assert states > 5000


def test_the_check_refuses_no_more_than_it_must() -> None:
    old = State(revision=1, entry=Entry(0, 0))
    assert "hit" in {what for what, _, _ in steps(old, Rules())}, "the edge can't know yet"
    told = replace(old, known=1)
    assert "hit" not in {what for what, _, _ in steps(told, Rules())}
    fresh = replace(told, entry=Entry(1, 1))
    assert "hit" in {what for what, _, _ in steps(fresh, Rules())}


@pytest.mark.parametrize(
    ("rules", "race"),
    [
        (
            Rules(check_stored=False),
            ["move", "push 1", "hit"],
        ),
        (
            Rules(claim_now=True),
            ["push 1", "store", "hit"],
        ),
        (
            Rules(revision_first=False),
            ["read owner", "move", "read revision", "hit"],
        ),
    ],
)
def test_without_one_of_its_checks_the_race_is_found(rules: Rules, race: list[str]) -> None:
    _, way = explore(rules)
    assert way is not None
    rest = iter(way)
    assert all(step in rest for step in race), way
