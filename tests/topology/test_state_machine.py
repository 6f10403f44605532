"""Any sequence of writes and reads against a model made of plain dicts."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from control_plane.topology import Topology
from control_plane.topology.values.cell import TRANSITIONS, Cell, CellSpec, CellState, SequenceRange
from control_plane.topology.values.change import Written
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.errors import (
    AlreadyExists,
    Gone,
    Invalid,
    NotFound,
    Refused,
    StaleVersion,
    TopologyError,
)

Key = tuple[str, str]
Error = type[TopologyError]
CELLS = ["a", "b", "c"]
# Spellings by what they stand for, written down instead of computed.
SPELLINGS: dict[Key, list[str]] = {
    ("route", "foo"): ["foo", "FOO", "/Foo/"],
    ("route", "strasse"): ["straße", "STRASSE", "Strasse"],
    ("username", "foo"): ["foo", " Foo "],
    ("username", "é"): ["é", "e\u0301", "É"],
    ("email", "a@xn--bcher-kva.example"): ["A@Bücher.example", "a@xn--bcher-kva.EXAMPLE."],
    ("project_id", "42"): ["42", "042", " 42"],
    ("ssh_key", "Ab"): ["Ab"],
    ("ssh_key", "AB"): ["AB"],
    ("other", "X y"): ["X y", " X y "],
}
BAD_VALUES = [("route", "/"), ("project_id", "-1"), ("email", "a"), ("Route", "x"), ("other", "\0")]

cell_names = st.sampled_from(CELLS)
states = st.sampled_from(CellState)
weights = st.sampled_from([0, 100])
flags = st.sampled_from([False, False, False, True])
prefixes = st.sampled_from([None, "p", "q"])
ranges = st.sampled_from([(), (SequenceRange(1, 10),), (SequenceRange(5, 20),)])
addresses = st.sampled_from(["x.example", "X.example", "y.example", None])
ids = st.sampled_from([None, None, 1, 2, 7])
versions = st.sampled_from(["none", "current", "stale"])
values = st.sampled_from(
    [(key[0], text, key) for key, texts in SPELLINGS.items() for text in texts]
)
bad_values = st.sampled_from(BAD_VALUES)
batches = st.lists(values, min_size=1, max_size=4)
documents = st.sampled_from(["{}", '{"rules": []}'])
ruleset_names = st.sampled_from(["r", "s"])


@dataclass
class Model:
    """What should be stored."""

    cells: dict[str, dict[str, Any]] = field(default_factory=dict)
    claims: dict[Key, str] = field(default_factory=dict)
    rulesets: dict[str, list[str]] = field(default_factory=dict)
    active: tuple[str, int] | None = None
    given: set[int] = field(default_factory=set)
    """Ids that a cell has or had."""

    def accepts_new(self, name: str) -> bool:
        cell = self.cells[name]
        return bool(
            cell["healthy"] and cell["state"] in {"canary", "active"} and cell["weight"] > 0
        )

    def clash(self, cell: dict[str, Any]) -> bool:
        """Whether another cell has what only one may have."""
        for other in self.cells.values():
            if other["name"] == cell["name"]:
                continue
            for key in ("id", "address", "session_prefix"):
                if cell[key] is not None and cell[key] == other[key]:
                    return True
            for mine in cell["sequence_ranges"]:
                for theirs in other["sequence_ranges"]:
                    if mine["minval"] <= theirs["maxval"] and theirs["minval"] <= mine["maxval"]:
                        return True
        return False


@dataclass
class Follower:
    """A reader that knows the topology from a snapshot and the feed alone."""

    at: int = 0
    cells: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, str] = field(default_factory=dict)
    rulesets: set[str] = field(default_factory=set)
    active: str | None = None

    def snapshot(self, topology: Topology) -> None:
        """Start afresh."""
        self.at = topology.revision()
        self.cells = {cell.name: cell.as_dict() for cell in topology.cells.all()}
        self.claims = {
            f"{one.bucket}:{one.value}": one.cell for one in topology.claims.page(limit=1000)
        }
        self.rulesets = {f"{one.name}@{one.version}" for one in topology.rulesets.versions()}
        active = topology.rulesets.active()
        self.active = f"{active.name}@{active.version}" if active else None

    def follow(self, topology: Topology, limit: int) -> None:
        """Take up everything there is, a page at a time."""
        while changes := topology.changes.since(self.at, limit=limit):
            for change in changes:
                assert change.revision in {self.at, self.at + 1}, "a gap, or out of order"
                self.at = change.revision
                table: dict[str, Any] = self.cells
                after: Any = change.after
                if change.kind == "claim":
                    table, after = self.claims, change.after["cell"] if change.after else None
                if change.kind == "ruleset":
                    if change.action == "activate":
                        self.active = change.key
                    else:
                        self.rulesets.add(change.key)
                elif after is None:
                    del table[change.key]
                else:
                    if change.action == "create":
                        assert change.key not in table, "created twice"
                    table[change.key] = after


def new_directory() -> Path:
    """In memory where that can be: each commit is synced, and there are thousands."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="cellway-", dir=memory if memory.is_dir() else None))


@functools.cache
def template() -> bytes:
    """An empty, migrated database."""
    directory = new_directory()
    Topology.open(f"sqlite:///{directory}/empty.db").close()
    database = (directory / "empty.db").read_bytes()
    shutil.rmtree(directory)
    return database


class TopologyMachine(RuleBasedStateMachine):
    """Writes go to the topology and, where the model says that they succeed, to the model."""

    @initialize()
    def open(self) -> None:
        self.directory = new_directory()
        (self.directory / "t.db").write_bytes(template())
        self.topology = Topology.open(f"sqlite:///{self.directory}/t.db", migrate_first=False)
        self.model = Model()
        self.revision = 0
        self.edge_revision = 0
        self.answers_revision = 0
        self.floor = 0
        self.follower = Follower()
        self.hints: list[int] = []
        self.topology.subscribe(self.hints.append)

    def teardown(self) -> None:
        if hasattr(self, "topology"):
            self.topology.close()
            shutil.rmtree(self.directory)

    def write[T](
        self,
        call: Callable[[], Written[T]],
        refused: set[Error],
        *,
        dry_run: bool,
        changes: int,
        edge: bool = False,
        answers: bool = True,
    ) -> T | None:
        """Does a write that must be refused with one of these, or do so many changes.

        None where nothing is to be noted in the model.
        """
        if refused:
            with pytest.raises(TopologyError) as caught:
                call()
            assert type(caught.value) in refused, caught.value
            return None
        told = len(self.hints)
        written = call()
        assert len(written.changes) == changes
        if dry_run or not changes:
            assert written.revision == self.revision
            assert self.hints[told:] == []
            return None if dry_run else written.value
        self.revision += 1
        if edge:
            self.edge_revision = self.revision
        if edge and answers:
            self.answers_revision = self.revision
        assert written.revision == self.revision
        assert self.hints[told:] == [self.revision]
        assert {change.revision for change in written.changes} == {self.revision}
        return written.value

    def expected(self, kind: str, current: int | None) -> int | None:
        """The version that a writer believes in."""
        if kind == "none" or current is None:
            return None
        return current if kind == "current" else current - 1

    # Cells

    @rule(
        name=cell_names,
        cell_id=ids,
        address=addresses,
        prefix=prefixes,
        spans=ranges,
        state=states | st.just(CellState.ACTIVE),
        weight=weights,
        dry_run=flags,
    )
    def create_cell(
        self,
        name: str,
        cell_id: int | None,
        address: str | None,
        prefix: str | None,
        spans: tuple[SequenceRange, ...],
        state: CellState,
        weight: int,
        dry_run: bool,
    ) -> None:
        spec = CellSpec(
            name,
            address or f"{name}.example",
            (Endpoint("10.0.0.1", 443),),
            id=cell_id,
            session_prefix=prefix,
            sequence_ranges=spans,
            state=state,
            weight=weight,
        )
        cell = {
            **_written_part(spec),
            "id": cell_id or max(self.model.given, default=0) + 1,
            "healthy": True,
        }
        taken = name in self.model.cells or self.model.clash(cell)
        taken = taken or cell_id in self.model.given
        made = self.write(
            lambda: self.topology.cells.create(spec, actor="m", dry_run=dry_run),
            {AlreadyExists} if taken else set(),
            dry_run=dry_run,
            changes=1,
            edge=True,
        )
        if made is not None:
            self.model.cells[name] = {**cell, "version": self.revision}
            self.model.given.add(made.id)

    @rule(
        name=cell_names,
        address=addresses,
        prefix=prefixes,
        spans=ranges,
        state=states,
        keep_state=st.booleans(),
        weight=weights,
        version=versions,
        force=flags,
        dry_run=flags,
    )
    def update_cell(
        self,
        name: str,
        address: str | None,
        prefix: str | None,
        spans: tuple[SequenceRange, ...],
        state: CellState,
        keep_state: bool,
        weight: int,
        version: str,
        force: bool,
        dry_run: bool,
    ) -> None:
        before = self.model.cells.get(name)
        if before is not None and keep_state:
            state = CellState(before["state"])
        spec = CellSpec(
            name,
            address or f"{name}.example",
            (Endpoint("10.0.0.2", 443),),
            session_prefix=prefix,
            sequence_ranges=spans,
            state=state,
            weight=weight,
        )
        expected = self.expected(version, before and before["version"])
        self._replace(
            name,
            spec,
            lambda: self.topology.cells.replace(
                name, spec, actor="m", expected_version=expected, force=force, dry_run=dry_run
            ),
            expected,
            force=force,
            dry_run=dry_run,
        )

    @rule(name=cell_names, state=states, version=versions, force=flags, dry_run=flags)
    def set_cell_state(
        self, name: str, state: CellState, version: str, force: bool, dry_run: bool
    ) -> None:
        before = self.model.cells.get(name)
        spec = None
        if before is not None:
            spec = replace(self.topology.cells.get(name).spec(), state=state)
        expected = self.expected(version, before and before["version"])
        self._replace(
            name,
            spec,
            lambda: self.topology.cells.set_state(
                name, state, actor="m", expected_version=expected, force=force, dry_run=dry_run
            ),
            expected,
            force=force,
            dry_run=dry_run,
        )

    @rule(name=cell_names, healthy=st.booleans())
    def set_cell_health(self, name: str, healthy: bool) -> None:
        before = self.model.cells.get(name)
        changed = before is not None and before["healthy"] != healthy
        made = self.write(
            lambda: self.topology.cells.set_health(name, healthy=healthy, actor="m"),
            set() if before else {NotFound},
            dry_run=False,
            changes=int(changed),
            edge=True,
        )
        if made is not None and before is not None and changed:
            before |= {"healthy": healthy, "version": self.revision}

    @rule(name=cell_names, version=versions, dry_run=flags)
    def delete_cell(self, name: str, version: str, dry_run: bool) -> None:
        before = self.model.cells.get(name)
        expected = self.expected(version, before and before["version"])
        refused: set[Error] = set()
        if before is None:
            refused = {NotFound}
        elif expected not in {None, before["version"]}:
            refused = {StaleVersion}
        elif before["state"] != "retired" or name in self.model.claims.values():
            refused = {Refused}
        made = self.write(
            lambda: self.topology.cells.remove(
                name, actor="m", expected_version=expected, dry_run=dry_run
            ),
            refused,
            dry_run=dry_run,
            changes=1,
            edge=True,
        )
        if made is not None:
            del self.model.cells[name]

    def _replace(
        self,
        name: str,
        spec: CellSpec | None,
        call: Callable[[], Written[Cell]],
        expected: int | None,
        *,
        force: bool,
        dry_run: bool,
    ) -> None:
        before = self.model.cells.get(name)
        refused: set[Error] = set()
        after: dict[str, Any] = {}
        if before is None or spec is None:
            refused = {NotFound}
        else:
            after = before | _written_part(spec)
            if expected not in {None, before["version"]}:
                refused = {StaleVersion}
            elif after != before:
                refused = self._guarded(name, after, force=force)
        made = self.write(
            call,
            refused,
            dry_run=dry_run,
            changes=int(after != before),
            edge=after != before,
            answers=any(
                before is None or after.get(key) != before[key]
                for key in ("address", "session_prefix", "state", "weight")
            ),
        )
        if made is not None and after != before:
            self.model.cells[name] = after | {"version": self.revision}

    def _guarded(self, name: str, after: dict[str, Any], *, force: bool) -> set[Error]:
        before = self.model.cells[name]
        if self.model.clash(after):
            return {AlreadyExists}
        if force:
            return set()
        old, new = CellState(before["state"]), CellState(after["state"])
        if old is not new and new not in TRANSITIONS[old]:
            return {Refused}
        took = self.model.accepts_new(name)
        others = any(self.model.accepts_new(other) for other in self.model.cells if other != name)
        self.model.cells[name] = after
        takes = self.model.accepts_new(name)
        self.model.cells[name] = before
        return {Refused} if took and not takes and not others else set()

    # Claims

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


def _written_part(spec: CellSpec) -> dict[str, Any]:
    """What a spec says of a cell, as the API and the feed show it."""
    return {
        "name": spec.name,
        "address": spec.address.lower(),
        "endpoints": [str(endpoint) for endpoint in spec.endpoints],
        "tls": None,
        "health_check_path": None,
        "session_prefix": spec.session_prefix,
        "sequence_ranges": [
            {"minval": span.minval, "maxval": span.maxval} for span in spec.sequence_ranges
        ],
        "labels": {},
        "state": str(spec.state),
        "weight": spec.weight,
    }


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
