"""The state machine without its rules: a topology, its model, and how a write is checked."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize

from control_plane.topology import Topology
from control_plane.topology.values.change import Written
from control_plane.topology.values.errors import TopologyError
from tests.topology.machine.follower import Follower
from tests.topology.machine.model import CELLS, Model
from tests.topology.machine.owners_follower import OwnersFollower

Error = type[TopologyError]

cell_names = st.sampled_from(CELLS)
flags = st.sampled_from([False, False, False, True])
versions = st.sampled_from(["none", "current", "stale"])
"""The version that a writer names."""


def new_directory() -> Path:
    """Make a directory, in memory where that can be: each of thousands of commits is synced."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="cellway-", dir=memory if memory.is_dir() else None))


@functools.cache
def template() -> bytes:
    """Return an empty, migrated database."""
    directory = new_directory()
    Topology.open(f"sqlite:///{directory}/empty.db").close()
    database = (directory / "empty.db").read_bytes()
    shutil.rmtree(directory)
    return database


class WritingMachine(RuleBasedStateMachine):
    """A topology and its model; a write goes to both.

    The rules of a subject are those of a subclass.
    """

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
        self.owners = OwnersFollower()
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
        """Do a write that must be refused with one of these errors, or make so many changes.

        Args:
            call: the write.
            refused: the errors of which one must be raised; none: the write must succeed.
            dry_run: whether the write only tries.
            changes: how many changes the write makes.
            edge: whether what the edge is told changes.
            answers: whether answers that the edge has cached become void.

        Returns:
            What was written; None where nothing is to be noted in the model.
        """
        if refused:
            with pytest.raises(TopologyError) as caught:
                call()
            assert type(caught.value) in refused, caught.value
            return None
        hints = len(self.hints)
        written = call()
        assert len(written.changes) == changes
        if dry_run or not changes:
            assert written.revision == self.revision
            assert self.hints[hints:] == []
            return None if dry_run else written.value
        self.revision += 1
        if edge:
            self.edge_revision = self.revision
        if edge and answers:
            self.answers_revision = self.revision
        assert written.revision == self.revision
        assert self.hints[hints:] == [self.revision]
        assert {change.revision for change in written.changes} == {self.revision}
        return written.value

    def expected(self, kind: str, current: int | None) -> int | None:
        """Return the version that a writer believes in."""
        if kind == "none" or current is None:
            return None
        return current if kind == "current" else current - 1
