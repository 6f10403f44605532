"""Each write of the topology: what it does, what it refuses, and what it leaves in the feed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from control_plane.routing import model as routing
from control_plane.topology import Pruned, Subject, Topology
from control_plane.topology.storage.idempotency import Once, Remembered
from control_plane.topology.storage.schema import metadata
from control_plane.topology.storage.store import Store, migrate, pending_migrations
from control_plane.topology.values.cell import CellSpec, CellState, CellTLS, SequenceRange
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.errors import (
    AlreadyExists,
    Gone,
    Invalid,
    NotFound,
    Refused,
    StaleVersion,
)
from tests.topology.conftest import cell_spec

ME = "tester"


def spec(number: int, **more: Any) -> CellSpec:
    return replace(cell_spec(number), **more)


def test_each_write_takes_the_next_revision_and_is_in_the_feed(two: Topology) -> None:
    written = two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME)
    assert (written.revision, two.revision()) == (3, 3)
    feed = two.changes.since(0)
    assert [(c.revision, c.kind, c.action, c.key) for c in feed] == [
        (1, "cell", "create", "cell-1"),
        (2, "cell", "create", "cell-2"),
        (3, "claim", "create", "route:a"),
    ]
    assert {change.actor for change in feed} == {ME}


def test_a_snapshot_reads_what_has_changed_and_is_the_truth(two: Topology) -> None:
    first = two.snapshot().cells
    assert first == two.cells.all()
    two.cells.replace("cell-1", spec(1, weight=3), actor=ME)
    two.cells.create(spec(3), actor=ME)
    second = two.snapshot().cells
    assert second == two.cells.all()
    assert second[1] is first[1]
    for state in (CellState.DRAINING, CellState.DRAINED, CellState.RETIRED):
        two.cells.replace("cell-2", spec(2, state=state), actor=ME, force=True)
    two.cells.remove("cell-2", actor=ME)
    two.cells.create(spec(2), actor=ME)
    assert two.snapshot().cells == two.cells.all()
    two.cells.set_health("cell-3", healthy=False, actor=ME)
    assert two.snapshot().cells == two.cells.all()


def test_a_cell_comes_back_as_it_was_given(topology: Topology) -> None:
    given = spec(
        7,
        id=7,
        endpoints=(Endpoint("cell.example.com", 8443), Endpoint("other.example.com", 80)),
        labels={"region": "eu"},
        sequence_ranges=(SequenceRange(1, 10),),
        health_check_path="/-/health",
        weight=7,
    )
    topology.cells.create(given, actor=ME)
    assert topology.cells.get("cell-7").spec() == given


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "Cell 1"}, "name"),
        ({"name": ""}, "name"),
        ({"address": "http://x"}, "address"),
        ({"address": "x:99999"}, "address"),
        ({"endpoints": ()}, "endpoints"),
        ({"endpoints": (Endpoint("10.0.0.1", 1), Endpoint("dns.example", 1))}, "endpoints"),
        ({"session_prefix": "a b"}, "session_prefix"),
        ({"weight": 1001}, "weight"),
        ({"weight": -1}, "weight"),
        ({"id": 0}, "id"),
        ({"health_check_path": "health"}, "health_check_path"),
        ({"labels": {"a b": "c"}}, "labels"),
        ({"sequence_ranges": (SequenceRange(5, 1),)}, "sequence_ranges"),
        ({"sequence_ranges": (SequenceRange(1, 5), SequenceRange(5, 9))}, "sequence_ranges"),
    ],
)
def test_a_malformed_cell_names_the_field(
    topology: Topology, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        topology.cells.create(spec(1, **change), actor=ME)
    assert field in {problem.field for problem in caught.value.problems}
    assert all(problem.mend for problem in caught.value.problems)
    assert topology.revision() == 0


@pytest.mark.parametrize(
    "text",
    ["", "x", "x:", "x:0", "x:70000", ":80", "a b:80", "1.2.3:80", "[::1]", "::1:80", "x:8a"],
)
def test_a_malformed_endpoint_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Endpoint.parse(text)


@pytest.mark.parametrize("text", ["10.0.0.1:443", "[::1]:80", "cell-1.example.com:8443", "x:1"])
def test_an_endpoint_reads_back(text: str) -> None:
    assert str(Endpoint.parse(text)) == text


@pytest.mark.parametrize(
    "clash",
    [
        {"name": "cell-1"},
        {"address": "CELL-1.example.com"},
        {"session_prefix": "cell-1"},
        {"id": 1},
    ],
)
def test_what_must_be_unique_is(two: Topology, clash: dict[str, Any]) -> None:
    with pytest.raises(AlreadyExists) as caught:
        two.cells.create(spec(3, **clash), actor=ME)
    assert caught.value.taken[0][1] == "cell-1"


def test_sequence_ranges_never_overlap(two: Topology) -> None:
    two.cells.create(spec(3, sequence_ranges=(SequenceRange(10, 20),)), actor=ME)
    with pytest.raises(AlreadyExists):
        two.cells.create(spec(4, sequence_ranges=(SequenceRange(20, 30),)), actor=ME)
    two.cells.create(spec(4, sequence_ranges=(SequenceRange(21, 30),)), actor=ME)


def test_a_stale_writer_is_refused(two: Topology) -> None:
    version = two.cells.get("cell-1").version
    two.cells.replace("cell-1", spec(1, weight=5), actor=ME, expected_version=version)
    with pytest.raises(StaleVersion) as caught:
        two.cells.replace("cell-1", spec(1, weight=9), actor=ME, expected_version=version)
    assert caught.value.actual == 3
    assert two.cells.get("cell-1").weight == 5


def test_writing_the_same_again_changes_nothing(two: Topology) -> None:
    written = two.cells.replace("cell-1", spec(1), actor=ME)
    assert written.changes == ()
    assert two.revision() == 2
    two.cells.set_health("cell-1", healthy=True, actor=ME)
    assert two.revision() == 2


def test_states_follow_a_cells_life(two: Topology) -> None:
    for state in ("draining", "drained", "retired"):
        two.cells.set_state("cell-1", CellState(state), actor=ME)
    assert not two.cells.get("cell-1").serving
    with pytest.raises(Refused, match="from retired a cell goes to: nothing"):
        two.cells.set_state("cell-1", CellState.ACTIVE, actor=ME)
    two.cells.set_state("cell-1", CellState.ACTIVE, actor=ME, force=True)
    assert two.cells.get("cell-1").accepts_new


def test_the_last_cell_that_takes_new_traffic_stays(two: Topology) -> None:
    two.cells.set_state("cell-1", CellState.CORDONED, actor=ME)
    with pytest.raises(Refused, match="no cell would be left"):
        two.cells.set_state("cell-2", CellState.CORDONED, actor=ME)
    with pytest.raises(Refused):
        two.cells.replace("cell-2", spec(2, weight=0), actor=ME)
    two.cells.set_state("cell-2", CellState.CORDONED, actor=ME, force=True)
    assert two.cells.get("cell-1").serving


def test_a_cell_goes_only_when_it_is_retired_and_owns_nothing(two: Topology) -> None:
    two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME)
    with pytest.raises(Refused, match="retire it first"):
        two.cells.remove("cell-1", actor=ME)
    for state in ("draining", "drained", "retired"):
        two.cells.set_state("cell-1", CellState(state), actor=ME)
    with pytest.raises(Refused, match="owns 1 claims"):
        two.cells.remove("cell-1", actor=ME)
    two.claims.release([("route", "a")], actor=ME)
    two.cells.remove("cell-1", actor=ME)
    with pytest.raises(NotFound):
        two.cells.get("cell-1")


def test_a_batch_of_claims_is_all_or_nothing(two: Topology) -> None:
    two.claims.claim(
        [ClaimSpec("route", "b", "cell-2"), ClaimSpec("username", "b", "cell-2")], actor=ME
    )
    batch = [ClaimSpec("route", name, "cell-1") for name in ("a", "B", "c")]
    with pytest.raises(AlreadyExists) as caught:
        two.claims.claim([*batch, ClaimSpec("username", "b", "cell-1")], actor=ME)
    assert set(caught.value.taken) == {("route:b", "cell-2"), ("username:b", "cell-2")}
    assert two.claims.owners_of([("route", "a"), ("route", "b"), ("route", "c")]) == [None, 2, None]
    assert two.revision() == 3


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ([], Invalid),
        ([ClaimSpec("route", "x", "nowhere")], NotFound),
        ([ClaimSpec("route", "", "cell-1")], Invalid),
        ([ClaimSpec("route", "x" * 2000, "cell-1")], Invalid),
        ([ClaimSpec("Route", "x", "cell-1")], Invalid),
        ([ClaimSpec("project_id", "x", "cell-1")], Invalid),
        ([ClaimSpec("route", "x", "cell-1"), ClaimSpec("route", "X/", "cell-1")], Invalid),
        ([ClaimSpec("route", f"r{i}", "cell-1") for i in range(1001)], Invalid),
    ],
)
def test_bad_claims_leave_nothing(
    two: Topology, claims: list[ClaimSpec], error: type[Exception]
) -> None:
    with pytest.raises(error):
        two.claims.claim(claims, actor=ME)
    assert two.claims.count() == {}
    assert two.revision() == 2


def test_release_is_all_or_nothing_and_guards_the_owner(two: Topology) -> None:
    two.claims.claim(
        [ClaimSpec("route", "a", "cell-1"), ClaimSpec("route", "b", "cell-2")], actor=ME
    )
    with pytest.raises(NotFound):
        two.claims.release([("route", "a"), ("route", "zzz")], actor=ME)
    with pytest.raises(Refused, match="cell-2 owns it"):
        two.claims.release([("route", "a"), ("route", "b")], cell="cell-1", actor=ME)
    assert two.claims.count() == {"route": 2}
    two.claims.release([("route", "A"), ("route", "b")], actor=ME)
    assert two.claims.count() == {}


def test_claims_are_paged_in_key_order(two: Topology) -> None:
    names = sorted(f"r{i:03}" for i in range(25))
    two.claims.claim([ClaimSpec("route", name, "cell-1") for name in names], actor=ME)
    two.claims.claim([ClaimSpec("username", "u", "cell-2")], actor=ME)
    seen: list[str] = []
    after = None
    while page := two.claims.page(bucket="route", after=after, limit=10):
        seen += [claim.value for claim in page]
        after = (page[-1].bucket, page[-1].value)
    assert seen == names
    assert [c.value for c in two.claims.page(cell="cell-2")] == ["u"]
    assert len(two.claims.page(prefix="r01")) == 10


def test_a_dry_run_tells_and_keeps_nothing(two: Topology) -> None:
    told = two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME, dry_run=True)
    assert [change.key for change in told.changes] == ["route:a"]
    two.cells.create(spec(3), actor=ME, dry_run=True)
    two.cells.set_state("cell-1", CellState.CORDONED, actor=ME, dry_run=True)
    two.rulesets.put("r", "{}", actor=ME, dry_run=True)
    assert (two.revision(), two.claims.count(), len(two.cells.all())) == (2, {}, 2)
    assert two.changes.since(2) == []
    with pytest.raises(AlreadyExists):
        two.cells.create(spec(1), actor=ME, dry_run=True)


def test_rulesets_keep_every_version_and_one_is_active(two: Topology) -> None:
    for number in (1, 2):
        assert two.rulesets.put("r", f"{{{number}}}", actor=ME).value.version == number
    again = two.rulesets.put("r", "{2}", actor=ME)
    assert (again.value.version, again.changes) == (2, ())
    assert two.rulesets.active() is None
    two.rulesets.activate("r", 1, actor=ME)
    two.rulesets.activate("r", 2, actor=ME, expected_active=("r", 1))
    with pytest.raises(StaleVersion):
        two.rulesets.activate("r", 1, actor=ME, expected_active=("r", 1))
    with pytest.raises(StaleVersion):
        two.rulesets.put("r", "{3}", actor=ME, expected_version=1)
    with pytest.raises(NotFound):
        two.rulesets.activate("r", 9, actor=ME)
    active = two.rulesets.active()
    assert active is not None
    assert (active.version, active.document) == (2, "{2}")
    assert [r.active for r in two.rulesets.versions()] == [False, True]


def test_only_cells_and_the_active_ruleset_touch_the_edge(two: Topology) -> None:
    assert two.snapshot().edge_revision == 2
    two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME)
    two.rulesets.put("r", "{}", actor=ME)
    assert (two.snapshot().edge_revision, two.snapshot().revision) == (2, 4)
    two.rulesets.activate("r", 1, actor=ME)
    assert two.snapshot().edge_revision == 5


def test_the_feed_says_when_it_no_longer_reaches_back(two: Topology) -> None:
    for number in range(5):
        two.claims.claim([ClaimSpec("route", f"r{number}", "cell-1")], actor=ME)
    assert two.changes.prune(keep=3) == Pruned(4, 4, more=False)
    with pytest.raises(Gone) as caught:
        two.changes.since(3)
    assert caught.value.oldest == 4
    assert [change.revision for change in two.changes.since(4)] == [5, 6, 7]


def test_a_page_of_the_feed_never_splits_a_revision(two: Topology) -> None:
    two.claims.claim([ClaimSpec("route", f"r{i}", "cell-1") for i in range(10)], actor=ME)
    page = two.changes.since(2, limit=4)
    assert [change.revision for change in page] == [3] * 10


def test_hints_come_after_the_commit(two: Topology) -> None:
    seen: list[tuple[int, int]] = []
    stop = two.subscribe(lambda revision: seen.append((revision, two.revision())))
    two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME)
    two.claims.claim([ClaimSpec("route", "b", "cell-1")], actor=ME, dry_run=True)
    stop()
    two.claims.claim([ClaimSpec("route", "c", "cell-1")], actor=ME)
    assert seen == [(3, 3)]


@pytest.mark.parametrize("text", ["p\x00", "p\ud800"])
def test_text_that_no_database_keeps_is_refused(two: Topology, text: str) -> None:
    with pytest.raises(Invalid, match="a NUL or a lone surrogate"):
        two.claims.claim([ClaimSpec("route", "a", "cell-1", subject=text)], actor=ME)
    for name in (text, f"cell-1{text}"):
        with pytest.raises(NotFound):
            two.cells.get(name)
        with pytest.raises(NotFound):
            two.releases.release_all(name, reason="r", actor=ME)
    with pytest.raises(Invalid, match="a NUL or a lone surrogate"):
        two.moves.move(Subject(text=text), "cell-1", "cell-2", reason="r", actor=ME)
    with pytest.raises(Invalid, match="lone surrogate"):
        two.rulesets.put("r", f'{{"a": "{text}"}}', actor=ME)
    assert two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=text).revision == 3


def test_answers_are_remembered_by_key(two: Topology) -> None:
    answer = Remembered("f", 201, "[]", "{}")
    assert two.idempotency.recall("k") is None
    assert two.idempotency.remember(Once("k", "f"), answer)
    assert two.idempotency.recall("k") == answer
    assert not two.idempotency.remember(Once("k", "f"), Remembered("f", 409, "[]", "{}"))
    assert two.idempotency.recall("k") == answer, "who came first answers"
    assert two.revision() == 2


def test_the_migrations_make_the_schema_that_the_code_has(empty_url: str) -> None:
    store = Store(empty_url)
    assert pending_migrations(store.engine)[:3] == ("0001", "0002", "0003")
    migrate(store.engine)
    migrate(store.engine)
    assert pending_migrations(store.engine) == ()
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    store.close()


LABELLED: dict[str, Any] = {"labels": {"zone": "a"}}
REACHED: dict[str, Any] = {
    "endpoints": (Endpoint("10.9.9.9", 443),),
    "tls": CellTLS("cell-1.internal"),
    "health_check_path": "/healthz",
    "sequence_ranges": (SequenceRange(900, 999),),
}
ROUTED: dict[str, Any] = {
    "address": "other.example.com",
    "session_prefix": "other",
    "state": CellState.DRAINING,
    "weight": 7,
}


@pytest.mark.parametrize("field", [*LABELLED, *REACHED, *ROUTED])
def test_only_what_cells_are_chosen_by_voids_answers(two: Topology, field: str) -> None:
    before = two.snapshot()
    changed = replace(
        two.cells.get("cell-1").spec(), **{field: (LABELLED | REACHED | ROUTED)[field]}
    )
    two.cells.replace("cell-1", changed, actor=ME)
    after = two.snapshot()
    assert after.edge_revision == after.revision == before.revision + 1
    expected = after.revision if field in ROUTED else before.answers_revision
    assert after.answers_revision == expected


def test_everything_that_a_decision_looks_at_voids_answers(two: Topology) -> None:
    looked_at = [name for name, kind in vars(routing.Cell).items() if isinstance(kind, property)]
    assert "session_prefix" in looked_at

    def view() -> list[list[Any]]:
        return [[getattr(cell, name) for name in looked_at] for cell in two.cells.all()]

    for field, value in (LABELLED | REACHED).items():
        before = view()
        two.cells.replace(
            "cell-1", replace(two.cells.get("cell-1").spec(), **{field: value}), actor=ME
        )
        assert view() == before, f"{field} takes part in decisions, so it must void answers"
    two.cells.set_health("cell-1", healthy=False, actor=ME)
    assert two.snapshot().answers_revision == two.revision()


def test_a_change_that_does_not_say_what_it_touches_voids_answers(two: Topology) -> None:
    """As by a control plane of before, which runs on while another has migrated already."""
    spec = two.cells.get("cell-1").spec()
    two.cells.replace("cell-1", replace(spec, **LABELLED), actor=ME)
    assert two.snapshot().answers_revision == 2
    with two.engine.begin() as connection:
        connection.execute(text("UPDATE revisions SET revision = 4, edge_revision = 4"))
    assert two.snapshot().answers_revision == 4
    two.cells.replace("cell-1", spec, actor=ME)
    snapshot = two.snapshot()
    assert (snapshot.edge_revision, snapshot.answers_revision) == (5, 4)
    two.cells.set_state("cell-1", CellState.DRAINING, actor=ME)
    assert two.snapshot().answers_revision == 6
