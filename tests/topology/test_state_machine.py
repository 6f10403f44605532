"""Any sequence of writes and reads against a model made of plain dicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from control_plane.topology import Topology
from control_plane.topology.values.cell import CellSpec
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.errors import AlreadyExists, Gone
from tests.topology.machine.cell_rules import CellRules
from tests.topology.machine.claim_rules import ClaimRules
from tests.topology.machine.model import CELLS, SPELLINGS
from tests.topology.machine.ruleset_rules import RulesetRules


class TopologyMachine(CellRules, ClaimRules, RulesetRules):
    """All writes, in whatever order, among reads that must see what the model says."""

    @rule(limit=st.integers(1, 5) | st.just(1000))
    def follow(self, limit: int) -> None:
        follower = self.follower
        if follower.at < self.floor:
            with pytest.raises(Gone):
                self.topology.changes.since(follower.at)
            follower.snapshot(self.topology)
        follower.follow(self.topology, limit)
        assert follower.at == self.revision
        assert follower.cells == self.model.cells
        assert follower.claims == {f"{b}:{v}": cell for (b, v), cell in self.model.claims.items()}
        assert follower.rulesets == {
            f"{name}@{version}"
            for name, kept in self.model.rulesets.items()
            for version in range(1, len(kept) + 1)
        }
        active = self.model.active
        assert follower.active == (f"{active[0]}@{active[1]}" if active else None)

    @rule()
    def follow_owners(self) -> None:
        if self.owners.at < self.floor:
            with pytest.raises(Gone):
                self.topology.owners.since(self.owners.at)
            self.owners.read(self.topology)
        self.owners.check(self.topology)

    @rule(keep=st.integers(0, 20))
    def prune(self, keep: int) -> None:
        self.floor = max(self.floor, self.revision - keep)
        assert self.topology.changes.prune(keep=keep).oldest == self.floor

    @rule()
    def reopen(self) -> None:
        self.topology.close()
        self.topology = Topology.open(f"sqlite:///{self.directory}/t.db", migrate_first=False)
        self.hints.clear()
        self.topology.subscribe(self.hints.append)

    @invariant()
    def what_is_stored_is_what_the_model_says(self) -> None:
        snapshot = self.topology.snapshot()
        assert (snapshot.revision, snapshot.edge_revision) == (self.revision, self.edge_revision)
        assert snapshot.answers_revision == self.answers_revision
        assert self.topology.revision() == self.revision
        stored = {cell.name: cell.as_dict() for cell in snapshot.cells}
        assert stored == self.model.cells
        assert len({cell.id for cell in snapshot.cells}) == len(snapshot.cells)
        active = snapshot.ruleset
        assert (active and (active.name, active.version)) == self.model.active
        assert [
            (one.name, one.version, one.document) for one in self.topology.rulesets.versions()
        ] == [
            (name, version, document)
            for name, kept in sorted(self.model.rulesets.items())
            for version, document in enumerate(kept, 1)
        ]

    @invariant()
    def each_value_has_one_owner_however_it_is_spelt(self) -> None:
        claims = self.topology.claims.page(limit=1000)
        assert {(one.bucket, one.value): one.cell for one in claims} == self.model.claims
        assert len(claims) == len(self.model.claims)
        asked = [(key, text) for key, texts in SPELLINGS.items() for text in texts]
        owners = self.topology.claims.owners_of([(key[0], text) for key, text in asked])
        for (key, _), owner in zip(asked, owners, strict=True):
            name = self.model.claims.get(key)
            assert owner == (None if name is None else self.model.cells[name]["id"])
        assert sum(self.topology.claims.count().values()) == len(self.model.claims)

    @invariant()
    def the_feed_has_every_revision_once(self) -> None:
        changes = self.topology.changes.since(self.floor)
        revisions = [change.revision for change in changes]
        assert revisions == sorted(revisions)
        assert sorted(set(revisions)) == list(range(self.floor + 1, self.revision + 1))


TestTopology = TopologyMachine.TestCase
# A failure is worth the time that it takes to make it small.
TestTopology.pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TestTopology.settings = settings(
    max_examples=30,
    stateful_step_count=35,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_a_pruned_feed_never_claims_to_reach_back_further(tmp_path: Path) -> None:
    topology = Topology.open(f"sqlite:///{tmp_path}/t.db")
    for name in CELLS:
        address = f"{name}.example"
        topology.cells.create(CellSpec(name, address, (Endpoint("10.0.0.1", 443),)), actor="m")
    assert [topology.changes.prune(keep=keep).oldest for keep in (1, 3)] == [2, 2]
    with pytest.raises(Gone):
        topology.changes.since(1)
    assert [change.key for change in topology.changes.since(2)] == ["c"]
    topology.close()


def test_the_same_cell_again_is_refused_in_words(tmp_path: Path) -> None:
    topology = Topology.open(f"sqlite:///{tmp_path}/t.db")
    spec = CellSpec("a", "a.example", (Endpoint("10.0.0.1", 443),), id=1)
    topology.cells.create(spec, actor="m")
    for again in (spec, replace(spec, address="b.example")):
        with pytest.raises(AlreadyExists, match="owner: a"):
            topology.cells.create(again, actor="m")
    assert topology.revision() == 1
    topology.close()
