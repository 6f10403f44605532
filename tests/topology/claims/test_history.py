"""What was decided at a revision can be told later, as it was told then."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.routing.explain import explain
from control_plane.routing.model import Cells
from control_plane.routing.rules.parse import parse
from control_plane.topology import Subject, Topology
from control_plane.topology.values import (
    CellState,
    ClaimSpec,
    Invalid,
    Lease,
    PastGone,
    RecordSpec,
    TopologyError,
)
from tests.support.conditions import wait_until
from tests.topology.conftest import cell_spec

ME = "test"
NAMES = ("a", "b", "c")
PATH = {"type": "path", "regexValue": "^/(?<p>[a-z]+)"}
BY_NAME = {
    "id": "name",
    "match": PATH,
    "action": "classify",
    "classify": {"claims": [{"route": "${p}"}]},
}
ANY = {"id": "any", "match": PATH, "action": "proxy", "proxy": {"weighted": True}}
BY_PREFIX = {
    "id": "prefix",
    "match": PATH,
    "action": "classify",
    "classify": {"type": "SESSION_PREFIX", "value": "${p}"},
}
RULESETS = [[BY_NAME, ANY], [BY_PREFIX, BY_NAME], [ANY]]
PATHS = [f"/{name}" for name in (*NAMES, "c1", "c2", "zzz")]


class Past:
    """Writes to a topology, and remembers what was decided at each revision."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.leases: list[tuple[int, Lease]] = []
        self.told: dict[int, str] = {}
        self.tell()

    def tell(self) -> None:
        snapshot = self.topology.snapshot()
        document = snapshot.ruleset.document if snapshot.ruleset else None
        self.told[snapshot.revision] = said(
            document, snapshot.cells, self.topology.claims.owners_of
        )

    def write(self, action: str, number: int, name: str, other: str) -> None:
        """Make a write; one that is refused changes nothing."""
        with contextlib.suppress(TopologyError):
            getattr(self, action)(number, name, other)
        self.tell()

    def cell(self, number: int, name: str, other: str) -> None:
        self.topology.cells.create(cell_spec(number), actor=ME)

    def state(self, number: int, name: str, other: str) -> None:
        state = list(CellState)[len(self.told) % len(CellState)]
        self.topology.cells.set_state(f"cell-{number}", state, actor=ME, force=True, reason="test")

    def retire(self, number: int, name: str, other: str) -> None:
        cell = f"cell-{number}"
        self.topology.cells.set_state(cell, CellState.RETIRED, actor=ME, force=True, reason="test")
        self.topology.releases.release_all(cell, reason="r", actor=ME)
        self.topology.cells.remove(cell, actor=ME)

    def health(self, number: int, name: str, other: str) -> None:
        self.topology.cells.set_health(f"cell-{number}", healthy=bool(len(self.told) % 2), actor=ME)

    def claim(self, number: int, name: str, other: str) -> None:
        spec = ClaimSpec("route", name, f"cell-{number}", subject="s")
        self.topology.claims.claim([spec], actor=ME)

    def release(self, number: int, name: str, other: str) -> None:
        self.topology.claims.release([("route", name)], actor=ME)

    def move(self, number: int, name: str, other: str) -> None:
        source, target = f"cell-{number}", f"cell-{number % 3 + 1}"
        self.topology.moves.move(Subject(text="s"), source, target, reason="r", actor=ME)

    def load(self, number: int, name: str, other: str) -> None:
        lines = [
            json.dumps({"bucket": "route", "value": one, "cell": f"cell-{number}", "subject": "s"})
            for one in (name, other)
        ]
        self.topology.bulk.import_(lines, actor=ME, reject=lambda _: None, progress=lambda _: None)

    def begin(self, number: int, name: str, other: str) -> None:
        creates = [RecordSpec("route", name)]
        destroys = [RecordSpec("route", other)] if len(self.told) % 2 else []
        lease = self.topology.leases.begin(number, creates, destroys, actor=ME).value
        self.leases.append((number, lease))

    def settle(self, number: int, name: str, other: str) -> None:
        if self.leases:
            cell, lease = self.leases.pop()
            end = self.topology.leases.commit if number == 1 else self.topology.leases.roll_back
            end(cell, lease.uuid, actor=ME)

    def ruleset(self, number: int, name: str, other: str) -> None:
        text = json.dumps({"rules": RULESETS[number - 1]})
        version = self.topology.rulesets.put(name, text, actor=ME).value.version
        self.topology.rulesets.activate(name, version, actor=ME)

    def prune(self, number: int, name: str, other: str) -> None:
        self.topology.changes.prune(keep=6)


def said(document: str | None, cells: Any, owners: Callable[..., Any]) -> str:
    """Return all decisions as text; without a ruleset, the cells and owners themselves."""
    if document is None:
        claims = [("route", name) for name in NAMES]
        return repr((sorted(cell.as_dict().items() for cell in cells), owners(claims)))
    ruleset, index = parse(document), Cells(cells)
    return json.dumps(
        [explain(ruleset, index, owners, url=one, method="GET", headers=[]) for one in PATHS]
    )


ACTIONS = (
    *("cell", "cell", "state", "health", "claim", "claim", "release", "move", "load", "begin"),
    *("begin", "settle", "settle", "ruleset", "ruleset", "retire", "prune"),
)
WRITES = st.tuples(
    st.sampled_from(ACTIONS), st.integers(1, 3), st.sampled_from(NAMES), st.sampled_from(NAMES)
)


@pytest.fixture
def topology(url: str) -> Iterator[Topology]:
    with closing(Topology.open(url, migrate_first=False)) as opened:
        yield opened


def check(past: Past) -> None:
    oldest = past.topology.changes.oldest()
    for revision, told in past.told.items():
        if revision < oldest:
            with pytest.raises(PastGone) as gone, past.topology.history.at(revision):
                pass
            assert gone.value.oldest == oldest
            assert str(gone.value).endswith(f"oldest revision that can be told is {oldest}")
            continue
        with past.topology.history.at(revision) as then:
            document = then.ruleset.document if then.ruleset else None
            assert said(document, then.cells, then.owners_of) == told


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(writes=st.lists(WRITES, max_size=25))
def test_whatever_was_written_the_past_is_what_was_told_then(
    writes: list[tuple[str, int, str, str]], migrated_file: Path
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        shutil.copy(migrated_file, f"{directory}/t.db")
        with closing(Topology.open(f"sqlite:///{directory}/t.db", migrate_first=False)) as topology:
            past = Past(topology)
            for number in (1, 2):
                past.write("cell", number, "a", "b")
            for one in writes:
                past.write(*one)
            check(past)


def test_every_kind_of_write_on_both_databases(topology: Topology) -> None:
    past = Past(topology)
    for action in (*ACTIONS[:-1], *ACTIONS[:-1]):
        for number in (1, 2):
            past.write(action, number, NAMES[number], NAMES[number - 1])
    assert len(past.told) > 20
    check(past)


def a_moment_between() -> datetime:
    """Return a time after the last write and before the next; the database counts milliseconds."""
    begun = datetime.now(UTC)
    wait_until(lambda: datetime.now(UTC) - begun > timedelta(milliseconds=5))
    return begun + timedelta(milliseconds=2)


def test_a_time_means_the_revision_that_was_newest_then(topology: Topology) -> None:
    past = Past(topology)
    moments = {topology.revision(): a_moment_between()}
    for number in (1, 2, 3):
        past.write("cell", number, "a", "b")
        moments[topology.revision()] = a_moment_between()
    assert len(moments) == 4
    for revision, moment in moments.items():
        with topology.history.at(moment) as then:
            assert then.revision == revision
    with topology.history.at(datetime(2020, 1, 1, tzinfo=UTC)) as then:
        assert (then.revision, then.cells) == (0, ())
    with (
        pytest.raises(Invalid, match="still to come"),
        topology.history.at(datetime.now(UTC) + timedelta(minutes=5)),
    ):
        pass


def test_a_time_before_what_is_kept_is_gone(topology: Topology) -> None:
    past = Past(topology)
    start = a_moment_between()
    for number in (1, 2, 3):
        past.write("cell", number, "a", "b")
    topology.changes.prune(keep=1)
    with (
        pytest.raises(PastGone, match="revision that can be told is 2"),
        topology.history.at(start),
    ):
        pass
    topology.changes.prune(keep=0)
    with topology.history.at(datetime.now(UTC)) as then:
        assert (then.revision, len(then.cells)) == (3, 3)


def test_a_revision_that_is_not_there_yet_is_told(topology: Topology) -> None:
    with (
        pytest.raises(Invalid, match="revision 7 is still to come"),
        topology.history.at(7),
    ):
        pass
