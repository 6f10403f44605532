"""A state machine of the claims protocol: cells that crash anywhere, and their reconciliation.

Each cell is a small Rails: a table of names and a table of outstanding leases, changed in one
local transaction. A step may stop anywhere, as a crash or a lost answer would stop it. The model
is a dict; after each step the service must agree with it, and once every cell has reconciled
(table 2.4 of the fact sheet) with each cell's own truth.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from control_plane.topology import Topology
from control_plane.topology.values.claim import RecordSpec, RecordStatus
from control_plane.topology.values.errors import (
    AlreadyExists,
    LeaseSettled,
    Locked,
    NotFound,
    Refused,
)
from tests.topology.conftest import cell_spec
from tests.topology.machine.owners_follower import OwnersFollower

CELLS = (1, 2, 3)
# Two spellings of each name: they are one name, whatever a cell writes.
NAMES = ("a", "A/", "b", "B", "c", "C/", "d", "D")
Key = str
Named = tuple[int, str]
"""A name's subject, and its spelling."""


def key(name: str) -> Key:
    return name.lower().strip("/")


class Crash(Enum):
    """Where a cell's update stops."""

    BEFORE_BEGIN = 0
    ANSWER_LOST = 1
    BEFORE_LOCAL_COMMIT = 2
    AFTER_LOCAL_COMMIT = 3
    AFTER_REMOTE_COMMIT = 4
    NEVER = 5


@dataclass
class Pending:
    """The model's lease: what it makes, what it destroys."""

    cell: int
    creates: dict[Key, Named]
    destroys: set[Key]


@dataclass
class Cell:
    """A cell's own database: names with their subject, and outstanding leases."""

    id: int
    names: dict[Key, Named] = field(default_factory=dict)
    outstanding: set[str] = field(default_factory=set)


class Claims(RuleBasedStateMachine):
    """Driven by hypothesis against ``topology``, which the test sets."""

    topology: Topology
    settled = Bundle("settled")

    def __init__(self) -> None:
        super().__init__()
        _empty(self.topology)
        self.cells = {number: Cell(number) for number in CELLS}
        self.owned: dict[Key, tuple[int, Named]] = {}
        self.pending: dict[str, Pending] = {}
        self.revision = self.topology.revision()
        self.subject = 0
        self.owners = OwnersFollower()
        self.owners.read(self.topology)

    def _expected_failure(
        self, cell: int, creates: dict[Key, Named], destroys: set[Key]
    ) -> type[Exception] | None:
        making = {k: lease for lease, p in self.pending.items() for k in p.creates}
        going = {k: lease for lease, p in self.pending.items() for k in p.destroys}
        exists = set(self.owned) | set(making)
        owner = {
            k: self.owned[k][0] if k in self.owned else self.pending[making[k]].cell for k in exists
        }
        missing = [k for k in destroys if k not in exists]
        foreign = [k for k in destroys if k in exists and owner[k] != cell]
        if missing or foreign:
            return (NotFound, Refused) if missing and foreign else NotFound if missing else Refused  # type: ignore[return-value]
        new = set(creates) - destroys
        # Destroyed only to be created anew: it never gets free.
        stays = {k for p in self.pending.values() for k in p.destroys & p.creates.keys()}
        if any(k in exists and (k not in going or k in stays) for k in new):
            return AlreadyExists
        held = any(k in making or k in going for k in destroys) or any(k in going for k in new)
        return Locked if held else None

    @rule(
        target=settled,
        cell=st.sampled_from(CELLS),
        creates=st.lists(st.sampled_from(NAMES), max_size=3, unique_by=key),
        own=st.sets(st.integers(0, len(NAMES) // 2 - 1), max_size=3),
        # Seldom, or hardly an update would come through.
        stray=st.sampled_from((*[None] * 24, *NAMES)),
        crash=st.sampled_from((*Crash, Crash.NEVER, Crash.NEVER)),
        with_key=st.booleans(),
        retries=st.integers(0, 2),
        shouts=st.booleans(),
    )
    def update(
        self,
        cell: int,
        creates: list[str],
        own: set[int],
        stray: str | None,
        crash: Crash,
        with_key: bool,
        retries: int,
        shouts: bool,
    ) -> object:
        mine = sorted(self.cells[cell].names)
        destroys = [mine[at] for at in sorted(own) if at < len(mine)]
        if stray is not None and key(stray) not in destroys:
            destroys.append(stray)
        if (not creates and not destroys) or crash is Crash.BEFORE_BEGIN:
            return multiple()
        subjects = itertools.count(self.subject + 1)
        specs = [RecordSpec("route", name, 3, next(subjects)) for name in creates]
        self.subject = next(subjects)
        # Whatever spelling it names, it is that claim.
        gone = [RecordSpec("route", name.upper() if shouts else name) for name in destroys]
        token = str(uuid.uuid4()) if with_key else None
        wanted = {key(spec.value): (spec.subject_id, spec.value) for spec in specs}
        failure = self._expected_failure(cell, wanted, {key(name) for name in destroys})

        def begin() -> str:
            done = self.topology.leases.begin(cell, specs, gone, actor="m", idempotency_key=token)
            return done.value.uuid

        if failure is not None:
            with pytest.raises(failure):
                begin()
            return multiple()
        lease = begin()
        self.pending[lease] = Pending(cell, wanted, {key(name) for name in destroys})
        self.revision += 1
        for _ in range(retries):
            # A retry of what was done: with a key it is the same lease, without it collides.
            if token is not None:
                assert begin() == lease
            else:
                with pytest.raises((AlreadyExists, Locked)):
                    begin()
        return self._rest_of_update(self.cells[cell], lease, crash)

    @rule(
        target=settled,
        cell=st.sampled_from(CELLS),
        spell=st.sampled_from((str.upper, str.lower)),
        crash=st.sampled_from((*Crash, Crash.NEVER, Crash.NEVER)),
    )
    def respell(self, cell: int, spell: Callable[[str], str], crash: Crash) -> object:
        """Replace a cell's names under other spellings and subjects, in one batch."""
        mine = sorted(self.cells[cell].names)
        return self.update(
            cell, [spell(name) for name in mine], set(range(len(mine))), None, crash, False, 0, True
        )

    def _rest_of_update(self, cell: Cell, lease: str, crash: Crash) -> object:
        if crash in {Crash.ANSWER_LOST, Crash.BEFORE_LOCAL_COMMIT}:
            return multiple()
        for name in self.pending[lease].destroys:
            cell.names.pop(name, None)
        cell.names |= self.pending[lease].creates
        cell.outstanding.add(lease)
        if crash is Crash.AFTER_LOCAL_COMMIT:
            return multiple()
        self._commit(lease)
        if crash is Crash.AFTER_REMOTE_COMMIT:
            return multiple()
        cell.outstanding.remove(lease)
        return (cell.id, lease, "commit")

    def _commit(self, lease: str) -> None:
        pending = self.pending[lease]
        assert self.topology.leases.commit(pending.cell, lease, actor="m") == self.revision + 1
        self.revision += 1
        for name in pending.destroys:
            del self.owned[name]
        self.owned |= {name: (pending.cell, named) for name, named in pending.creates.items()}
        del self.pending[lease]

    def _roll_back(self, lease: str) -> None:
        pending = self.pending.pop(lease)
        assert self.topology.leases.roll_back(pending.cell, lease, actor="m") == self.revision + 1
        self.revision += 1

    @rule(cell=st.sampled_from(CELLS))
    def reconcile(self, cell: int) -> None:
        """LostTransactionRecoveryWorker: the cell's table of leases decides each outcome."""
        local = self.cells[cell]
        remote = {lease.uuid for lease in self.topology.open_leases.page(cell)}
        assert remote == {lease for lease, p in self.pending.items() if p.cell == cell}
        for lease in sorted(remote & local.outstanding):
            self._commit(lease)
        for lease in sorted(remote - local.outstanding):
            self._roll_back(lease)
        local.outstanding.clear()
        mine = {name: named for name, (owner, named) in self.owned.items() if owner == cell}
        assert mine == local.names, "the service has converged to the cell's truth"

    @rule(done=settled)
    def settle_again(self, done: tuple[int, str, str]) -> None:
        cell, lease, _ = done
        assert self.topology.leases.commit(cell, lease, actor="late") <= self.revision
        with pytest.raises(LeaseSettled):
            self.topology.leases.roll_back(cell, lease, actor="late")

    @rule(cell=st.sampled_from(CELLS))
    def roll_back_young(self, cell: int) -> None:
        """An operator or a cell undoes what the cell has not committed locally."""
        free = [
            lease
            for lease, p in self.pending.items()
            if p.cell == cell and lease not in self.cells[cell].outstanding
        ]
        for lease in free:
            self._roll_back(lease)
            with pytest.raises(LeaseSettled):
                self.topology.leases.commit(cell, lease, actor="late")

    @invariant()
    def the_service_is_the_model(self) -> None:
        assert self.topology.revision() == self.revision
        creating = {k: p for p in self.pending.values() for k in p.creates if k not in p.destroys}
        destroying = {k for p in self.pending.values() for k in p.destroys}
        expected = {
            name: (
                cell,
                named,
                RecordStatus.DESTROYING if name in destroying else RecordStatus.ACTIVE,
            )
            for name, (cell, named) in self.owned.items()
        }
        expected |= {
            name: (p.cell, p.creates[name], RecordStatus.CREATING) for name, p in creating.items()
        }
        found = {}
        for claim in self.topology.claims.page(bucket="route"):
            one = self.topology.records.get("route", claim.value)
            named = (one.spec.subject_id, one.spec.value)
            found[claim.value] = (one.cell_id, named, one.status)
        assert found == expected
        asked = [("route", name) for name in NAMES]
        owners = [expected[key(n)][0] if key(n) in expected else None for n in NAMES]
        assert self.topology.claims.owners_of(asked) == owners
        self.owners.check(self.topology)

    def teardown(self) -> None:
        for cell in CELLS:
            self.reconcile(cell)
        assert self.topology.open_leases.page() == []
        self.owners.check(self.topology)
        _whoever_was_away_catches_up(self.topology, self.owners)
        _one_owner_at_each_revision(self.topology)


def _whoever_was_away_catches_up(topology: Topology, seen: OwnersFollower) -> None:
    """Have a reader go on from a revision of the past, of which the changes must suffice."""
    middle = sorted(seen.history)[len(seen.history) // 2]
    late = OwnersFollower(middle, dict(seen.history[middle]))
    late.check(topology)


def _one_owner_at_each_revision(topology: Topology) -> None:
    """Replay the feed: a name is made only where it is not, and goes only where it is."""
    owner: dict[str, int] = {}
    for change in topology.changes.since(0, limit=100_000):
        if change.kind != "claim":
            continue
        if change.action == "create":
            assert change.key not in owner
            assert change.after is not None
            owner[change.key] = change.after["cell_id"]
        elif change.action == "delete":
            assert change.before is not None
            assert owner.pop(change.key) == change.before["cell_id"]
        else:
            assert change.after is not None
            assert owner[change.key] == change.after["cell_id"]
    found = {f"{c.bucket}:{c.value}": c.cell_id for c in topology.claims.page(limit=1000)}
    assert found == owner


def _empty(topology: Topology) -> None:
    for lease in topology.open_leases.page(limit=1000):
        topology.leases.roll_back(lease.cell_id, lease.uuid, actor="m")
    keys = [(claim.bucket, claim.value) for claim in topology.claims.page(limit=1000)]
    if keys:
        topology.claims.release(keys, actor="m")


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
def test_every_crash_converges_and_no_name_has_two_owners(topology: Topology, engine: str) -> None:
    for number in CELLS:
        topology.cells.create(cell_spec(number), actor="m")
    machine = type("Bound", (Claims,), {"topology": topology})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40 if engine == "sqlite" else 15,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
