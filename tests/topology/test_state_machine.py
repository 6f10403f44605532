"""Any sequence of writes and reads against a model made of plain dicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from control_plane.topology import Topology
from control_plane.topology.values import (
    AlreadyExists,
    CellSpec,
    ClaimSpec,
    Endpoint,
    Gone,
    Invalid,
    NotFound,
    Refused,
    StaleVersion,
)
from tests.topology.state_cells import CellMachine, cell_names, flags, versions
from tests.topology.state_model import BAD_VALUES, CELLS, SPELLINGS, Error, Key

values = st.sampled_from(
    [(key[0], text, key) for key, texts in SPELLINGS.items() for text in texts]
)
bad_values = st.sampled_from(BAD_VALUES)
batches = st.lists(values, min_size=1, max_size=4)
documents = st.sampled_from(["{}", '{"rules": []}'])
ruleset_names = st.sampled_from(["r", "s"])


class TopologyMachine(CellMachine):
    """Adds the rules for claims, rulesets and readers."""

    @rule(batch=batches, owners=st.lists(cell_names, min_size=4, max_size=4), dry_run=flags)
    def claim(self, batch: list[tuple[str, str, Key]], owners: list[str], dry_run: bool) -> None:
        specs = [
            ClaimSpec(bucket, value, cell)
            for (bucket, value, _), cell in zip(batch, owners, strict=False)
        ]
        keys = [key for _, _, key in batch]
        refused: set[Error] = set()
        cells = [self.model.cells.get(spec.cell) for spec in specs]
        if None in cells:
            refused.add(NotFound)
        if any(cell is not None and cell["state"] == "retired" for cell in cells):
            refused.add(Refused)
        if not refused and len(set(keys)) < len(keys):
            refused.add(Invalid)
        if not refused and any(key in self.model.claims for key in keys):
            refused.add(AlreadyExists)
        made = self.write(
            lambda: self.topology.claims.claim(specs, actor="m", dry_run=dry_run),
            refused,
            dry_run=dry_run,
            changes=len(batch),
        )
        if made is not None:
            assert [(one.bucket, one.value) for one in made] == keys
            self.model.claims |= {key: spec.cell for key, spec in zip(keys, specs, strict=True)}

    @rule(batch=batches, bad=bad_values, cell=cell_names)
    def claim_with_a_bad_value(
        self, batch: list[tuple[str, str, Key]], bad: Key, cell: str
    ) -> None:
        specs = [ClaimSpec(bucket, value, cell) for bucket, value, _ in batch]
        refused: set[Error] = {Invalid}
        if cell not in self.model.cells:
            refused = {NotFound}
        elif self.model.cells[cell]["state"] == "retired":
            refused = {Refused}
        self.write(
            lambda: self.topology.claims.claim([*specs, ClaimSpec(*bad, cell)], actor="m"),
            refused,
            dry_run=False,
            changes=0,
        )

    @rule(batch=batches, cell=st.none() | cell_names, dry_run=flags)
    def release(self, batch: list[tuple[str, str, Key]], cell: str | None, dry_run: bool) -> None:
        self._release([value[:2] for value in batch], {value[2] for value in batch}, cell, dry_run)

    @rule(data=st.data())
    def release_what_is_there(self, data: st.DataObject) -> None:
        if self.model.claims:
            keys = data.draw(st.sets(st.sampled_from(sorted(self.model.claims)), min_size=1))
            self._release(
                [(key[0], data.draw(st.sampled_from(SPELLINGS[key]))) for key in sorted(keys)],
                keys,
                None,
                dry_run=False,
            )

    def _release(self, given: list[Key], keys: set[Key], cell: str | None, dry_run: bool) -> None:
        refused: set[Error] = set()
        if any(key not in self.model.claims for key in keys):
            refused.add(NotFound)
        if cell is not None and any(self.model.claims.get(key, cell) != cell for key in keys):
            refused.add(Refused)
        gone = self.write(
            lambda: self.topology.claims.release(given, actor="m", cell=cell, dry_run=dry_run),
            refused,
            dry_run=dry_run,
            changes=len(keys),
        )
        if gone is not None:
            assert {(one.bucket, one.value) for one in gone} == keys
            for key in keys:
                del self.model.claims[key]

    # Rulesets

    @rule(name=ruleset_names, document=documents, version=versions, dry_run=flags)
    def put_ruleset(self, name: str, document: str, version: str, dry_run: bool) -> None:
        kept = self.model.rulesets.get(name, [])
        expected = self.expected(version, len(kept))
        stale = expected not in {None, len(kept)}
        same = bool(kept) and kept[-1] == document
        made = self.write(
            lambda: self.topology.rulesets.put(
                name, document, actor="m", expected_version=expected, dry_run=dry_run
            ),
            {StaleVersion} if stale else set(),
            dry_run=dry_run,
            changes=int(not same),
        )
        if made is not None and not same:
            self.model.rulesets[name] = [*kept, document]

    @rule(name=ruleset_names, version=st.integers(0, 3), believed=versions, dry_run=flags)
    def activate_ruleset(self, name: str, version: int, believed: str, dry_run: bool) -> None:
        current = self.model.active or ("", 0)
        expected = {"none": None, "current": current, "stale": ("no such", 1)}[believed]
        refused: set[Error] = set()
        if not 1 <= version <= len(self.model.rulesets.get(name, [])):
            refused = {NotFound}
        elif expected not in {None, current}:
            refused = {StaleVersion}
        changed = (name, version) != self.model.active
        made = self.write(
            lambda: self.topology.rulesets.activate(
                name, version, actor="m", expected_active=expected, dry_run=dry_run
            ),
            refused,
            dry_run=dry_run,
            changes=int(changed),
            edge=changed,
        )
        if made is not None:
            self.model.active = (name, version)

    # Readers

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
TestTopology.pytestmark = [pytest.mark.timeout(600)]
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
