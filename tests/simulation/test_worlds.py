"""Many requests are decided with few look-ups."""

from __future__ import annotations

from collections.abc import Sequence

from control_plane.routing.model import ClaimKey, Request
from control_plane.simulation.worlds import SharedRules, World, decide_all
from tests.simulation.rules import PATH, TENANT_HEADER, claim, ruleset
from tests.support.cells import cells

CELLS = cells()
BY_PATH = claim(PATH, "${p}")
BY_TENANT = claim(TENANT_HEADER, "${t}")


def test_all_that_wait_for_owners_share_a_look_up() -> None:
    asked: list[list[ClaimKey]] = []

    def owners(keys: Sequence[ClaimKey]) -> list[int | None]:
        asked.append(list(keys))
        return [1 if value == "a" else None for _, value in keys]

    requests = [
        Request.of("/a"),
        Request.of("/b", {"x-tenant": "a"}),
        Request.of("/a"),
        Request.of("/c"),
    ]
    decisions = decide_all(World(ruleset(BY_PATH, BY_TENANT), CELLS), requests, owners)
    assert [one.cell for one in decisions] == ["cell-1", "cell-1", "cell-1", None]
    assert asked == [[("route", "a"), ("route", "b"), ("route", "c")], [("route", "a")]]


def test_rules_before_the_first_difference_decide_for_both() -> None:
    before = World(ruleset(BY_PATH, BY_TENANT), CELLS)
    after = World(ruleset(BY_PATH, BY_PATH), CELLS)
    owned = decide_all(before, [Request.of("/a"), Request.of("/", {"x-tenant": "a"})], _all_one)
    shared = SharedRules(before, after)
    assert [shared.decide(one) for one in owned] == [True, False]


def test_with_other_cells_nothing_is_shared() -> None:
    before, after = (World(ruleset(BY_PATH), cells()) for _ in range(2))
    (owned,) = decide_all(before, [Request.of("/a")], _all_one)
    assert not SharedRules(before, after).decide(owned)


def test_the_same_rules_share_even_that_no_rule_matched() -> None:
    world = World(ruleset(BY_TENANT), CELLS)
    (unmatched,) = decide_all(world, [Request.of("/a")], _all_one)
    assert unmatched.rule is None
    assert SharedRules(world, World(ruleset(BY_TENANT), CELLS)).decide(unmatched)


def _all_one(keys: Sequence[ClaimKey]) -> list[int | None]:
    return [1] * len(keys)
