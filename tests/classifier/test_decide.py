"""Cells, ruleset and owners of one moment: what happens when they change amid a request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from control_plane.classifier.cache.tiered import CachedLookup
from control_plane.classifier.decide import MAX_STARTS, Decider, NoRuleset, Unsettled
from control_plane.routing.model import Request
from control_plane.topology import Topology
from control_plane.topology.lookup import ClaimLookup, Seen
from control_plane.topology.values import ClaimKey, ClaimSpec, KeyPair
from tests.support.plane import add_cell, route_all

RULE = {
    "id": "tenant",
    "match": {"type": "path", "regexValue": "^/(?<a>[^/]+)"},
    "action": "classify",
    "classify": {"claims": [{"tenant": "${a}"}, {"route": "${a}"}]},
}
REQUEST = Request("GET", b"h", b"/acme/app", ())


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    opened = Topology.open(f"sqlite:///{tmp_path}/p.db")
    for number in (1, 2):
        add_cell(opened, f"cell-{number}")
    yield opened
    opened.close()


@pytest.fixture
def decider(topology: Topology) -> Iterator[Decider]:
    opened = Decider(topology)
    yield opened
    opened.close()


def by_claims(topology: Topology) -> None:
    topology.rulesets.put("r", json.dumps({"name": "r", "rules": [RULE]}), actor="t")
    topology.rulesets.activate("r", 1, actor="t")


def before_each_lookup(
    topology: Topology, monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]
) -> None:
    """Do some work before each look-up of the decider, as another process might."""
    real = topology.claim_lookup()
    owners_of = real.owners_of

    def working(keys: Sequence[KeyPair]) -> Seen:
        work()
        return owners_of(keys)

    def opened() -> ClaimLookup:
        monkeypatch.setattr(real, "owners_of", working)
        return real

    monkeypatch.setattr(topology, "claim_lookup", opened)


def test_without_a_ruleset_nothing_is_decided_until_there_is_one(
    topology: Topology, decider: Decider
) -> None:
    with pytest.raises(NoRuleset):
        decider.decide(REQUEST)
    route_all(topology)
    assert decider.decide(REQUEST).decision.cell == "cell-1"


def test_a_verdict_says_what_it_rests_on(topology: Topology, decider: Decider) -> None:
    by_claims(topology)
    shards = tuple(ClaimKey(bucket, "acme").shard for bucket in ("tenant", "route"))
    nobody = decider.decide(REQUEST)
    assert (nobody.decision.cell, nobody.shards, nobody.negative) == (None, shards, True)
    second = topology.claims.claim([ClaimSpec("route", "acme", "cell-2")], actor="t")
    verdict = decider.decide(REQUEST)
    assert (verdict.decision.cell, verdict.revision) == ("cell-2", second.revision)
    assert verdict.negative, "that nobody owns the first key took part"
    first = topology.claims.claim([ClaimSpec("tenant", "acme", "cell-1")], actor="t")
    verdict = decider.decide(REQUEST)
    assert (verdict.decision.cell, verdict.revision) == ("cell-1", first.revision)
    assert not verdict.negative


def test_a_decision_without_claims_has_its_revision_too(
    topology: Topology, decider: Decider
) -> None:
    route_all(topology)
    verdict = decider.decide(REQUEST)
    assert (verdict.revision, verdict.shards, verdict.negative) == (topology.revision(), (), False)


def test_a_change_amid_a_request_begins_it_anew(
    topology: Topology, decider: Decider, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_claims(topology)
    topology.claims.claim([ClaimSpec("tenant", "acme", "cell-1")], actor="t")
    changes = iter([lambda: topology.cells.set_health("cell-1", healthy=False, actor="t")])
    before_each_lookup(topology, monkeypatch, lambda: next(changes, lambda: None)())
    assert decider.decide(REQUEST).decision.cell is None, "cell-1 no longer serves"


def test_changes_without_end_are_given_up(
    topology: Topology, decider: Decider, monkeypatch: pytest.MonkeyPatch
) -> None:
    route_all(topology)
    healthy = True
    lookups = 0

    def change() -> None:
        nonlocal healthy, lookups
        healthy, lookups = not healthy, lookups + 1
        topology.cells.set_health("cell-1", healthy=healthy, actor="t")

    before_each_lookup(topology, monkeypatch, change)
    with pytest.raises(Unsettled):
        decider.decide(REQUEST)
    assert lookups == MAX_STARTS


def test_a_stored_ruleset_that_can_not_be_read_leaves_the_last_one_in_force(
    topology: Topology, decider: Decider
) -> None:
    by_claims(topology)
    topology.claims.claim([ClaimSpec("tenant", "acme", "cell-1")], actor="t")
    assert decider.decide(REQUEST).decision.cell == "cell-1"
    topology.rulesets.put("bad", '{"rules": NaN}', actor="t")
    topology.rulesets.activate("bad", 1, actor="t")
    assert decider.decide(REQUEST).decision.cell == "cell-1"
    fresh = Decider(topology)
    with pytest.raises(NoRuleset):
        fresh.decide(REQUEST)
    fresh.close()


class Scripted(CachedLookup):
    """Look-ups that see what a test says, and note how old an answer might have been."""

    def __init__(self, *seen: Seen) -> None:
        self.seen = list(seen)
        self.at_least: list[int | None] = []

    async def owners_of(self, keys: Sequence[KeyPair], at_least: int | None) -> Seen:
        self.at_least.append(at_least)
        return self.seen.pop(0)


async def test_no_look_up_is_older_than_the_one_whose_revision_is_told(topology: Topology) -> None:
    unknown = RULE | {"id": "first", "on_unknown": "next"}
    rules = json.dumps({"name": "r", "rules": [unknown, RULE]})
    topology.rulesets.put("r", rules, actor="t")
    topology.rulesets.activate("r", 1, actor="t")
    decider = Decider(topology)
    edge = decider._state.edge_revision
    lookup = Scripted(Seen(90, edge, [None, None], [1, 2]), Seen(95, edge, [1, None], [1, 2]))
    verdict = await decider.decide_async(lookup, REQUEST, edge - 1)
    assert lookup.at_least == [edge, 90]
    assert (verdict.decision.cell, verdict.revision) == ("cell-1", 90)
    decider.close()


async def test_a_cache_that_contradicts_the_database_is_asked_only_once(topology: Topology) -> None:
    by_claims(topology)
    decider = Decider(topology)
    edge = decider._state.edge_revision
    odd = Seen(edge + 9, edge + 5, [1, None], [1, 2])
    lookup = Scripted(odd, Seen(edge, edge, [2, None], [1, 2]))
    verdict = await decider.decide_async(lookup, REQUEST, edge)
    assert lookup.at_least == [edge, None], "then the newest is asked for"
    assert verdict.decision.cell == "cell-2"
    decider.close()
