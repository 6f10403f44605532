"""All owners at a revision, and every way in which one changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, update

from control_plane.owners.frames import ASK
from control_plane.topology import Subject, Topology
from control_plane.topology.claims import move
from control_plane.topology.lookup import all_owners
from control_plane.topology.lookup.all_owners import Untold
from control_plane.topology.maintenance.backup import advance, back_up
from control_plane.topology.maintenance.restore import restore
from control_plane.topology.storage import Store, schema, spellings
from control_plane.topology.storage.postgresql import PostgresqlDialect
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.errors import DatabaseFailed, Gone, Unavailable
from control_plane.topology.values.move import MovePlan, MoveStep
from tests.topology.claims.steps import own_records, project
from tests.topology.conftest import cell_spec
from tests.topology.machine.owners_follower import OwnersFollower

ME = "operator"
WHY = "a test"


def test_each_way_in_which_an_owner_changes_is_told(two: Topology) -> None:
    follower = OwnersFollower()
    follower.read(two)
    lines = [f'{{"bucket": "route", "value": "R{n}", "cell": "cell-1"}}' for n in range(30)]
    plan = MovePlan("cell-1", "cell-2", WHY, {"subject": {"type": 0, "id": 0, "text": "org"}})
    moves = two.tenant_moves
    steps = [
        lambda: two.claims.claim([ClaimSpec("route", "Ünï/", "cell-1", "org")], actor=ME),
        lambda: moves.plan(plan, actor=ME),
        lambda: moves.step(1, MoveStep.PREFLIGHT, actor=ME),
        lambda: moves.step(1, MoveStep.FREEZE, actor=ME),
        lambda: moves.step(1, MoveStep.ROLLBACK, actor=ME),
        lambda: two.bulk.import_(lines, actor=ME, reject=lambda _: None, progress=lambda _: None),
        lambda: two.moves.move(Subject(text="org"), "cell-1", "cell-2", reason=WHY, actor=ME),
        lambda: own_records(two, 1, *project(7, "p", "q")),
        lambda: two.leases.begin(1, project(8, "p", "new"), project(7, "p", "q"), actor=ME),
        lambda: two.open_leases.settle_all("cell-1", "rolled back", reason=WHY, actor=ME),
        lambda: two.leases.begin(1, project(8, "p", "new"), project(7, "p", "q"), actor=ME),
        lambda: two.open_leases.settle_all("cell-1", "committed", reason=WHY, actor=ME),
        lambda: two.claims.release([("route", "ÜNÏ")], actor=ME),
        lambda: two.cells.set_state(
            "cell-1", CellState.RETIRED, actor=ME, force=True, reason="test"
        ),
        lambda: two.releases.release_all("cell-1", reason=WHY, actor=ME),
        lambda: two.cells.remove("cell-1", actor=ME),
        lambda: two.edge_secrets.rotate(actor=ME, force=True),
    ]
    for step in steps:
        step()
        follower.check(two)
    assert follower.owners == {}
    for revision in range(2, follower.at):
        late = OwnersFollower(revision, dict(follower.history.get(revision, {})))
        if revision in follower.history:
            late.check(two)


def test_a_revision_is_never_told_in_parts(two: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_owners, "MAX_CHANGES", 4)
    for first in range(0, 12, 3):
        specs = [ClaimSpec("route", f"r{n}", "cell-1") for n in range(first, first + 3)]
        two.claims.claim(specs, actor=ME)
    two.claims.claim([ClaimSpec("route", f"x{n}", "cell-2") for n in range(9)], actor=ME)
    after, sizes = two.revision() - 5, []
    while after < two.revision():
        found = two.owners.since(after)
        sizes.append(len(found.changes))
        after = found.upto
        assert found.newest == two.revision()
    assert sizes == [3, 3, 3, 3, 9]


def test_a_pruned_feed_and_one_that_tells_too_little_are_told_apart(two: Topology) -> None:
    two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME)
    revision = two.revision()
    two.changes.prune(keep=1)
    with pytest.raises(Gone):
        two.owners.since(0)
    assert two.owners.since(revision).changes == []
    with two._store._write_engine.begin() as connection:
        connection.execute(update(schema.changes).values(after='{"cell": "cell-1"}'))
    with pytest.raises(Untold, match="create of route:a names no cell id"):
        two.owners.since(revision - 1)
    with two._store._write_engine.begin() as connection:
        connection.execute(update(schema.changes).values(action="bless"))
    with pytest.raises(Untold, match="bless of route:a"):
        two.owners.since(revision - 1)


def test_what_a_migration_respells_is_untold_or_told(two: Topology) -> None:
    """What rewrites keys tells no cell ids, so a reader reads all of them anew."""
    two.claims.claim([ClaimSpec("host", "a.example", "cell-1")], actor=ME)
    before = two.revision()
    with two._store._write_engine.begin() as connection:
        connection.execute(update(schema.claims).values(value="A.example"))
    with two._store._write_engine.begin() as connection:
        spellings.respell(connection, ME)
    with pytest.raises(Untold):
        two.owners.since(before)


def test_a_restore_makes_another_table_with_the_same_key(two: Topology, tmp_path: Path) -> None:
    before = two.owners.table()
    assert before == two.owners.since(0).table
    assert before.key.hex() == two.snapshot().owners_key
    assert before.key.hex() not in repr(before) + repr(two.snapshot())
    advance(two._store, 5)
    after = two.owners.table()
    assert after.key == before.key
    assert after.table != before.table
    with pytest.raises(Gone):
        two.owners.since(2)


def test_a_restored_file_is_another_table(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    topology = Topology.open(url)
    topology.cells.create(cell_spec(1), actor=ME)
    before = topology.owners.table()
    back_up(url, tmp_path / "b.db")
    topology.close()
    restore(url, tmp_path / "b.db")
    topology = Topology.open(url)
    after = topology.owners.table()
    topology.close()
    assert (after.key, after.table == before.table) == (before.key, False)


def test_another_history_of_the_server_is_another_table(
    two: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = two.owners.table()
    monkeypatch.setattr(two.engine.get_execution_options()["cellway_dialect"], "history", str)
    assert two.owners.table().table != before.table


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_server_that_tells_no_history_and_a_standby(
    url: str, two: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    with two._store.read() as connection:
        dialect = two.engine.get_execution_options()["cellway_dialect"]
        assert len(dialect.history(connection).split("-")) == 4
        module = "control_plane.topology.storage.postgresql.HISTORY_SQL"
        monkeypatch.setattr(module, "SELECT no_such_function()")
        assert dialect.history(connection) == ""
        # The transaction goes on.
        assert connection.execute(select(schema.revisions.c.revision)).scalar_one() == 2

    class Standby(PostgresqlDialect):
        def history(self, connection: object) -> str:
            raise Unavailable("the server is a standby")

    store = Store(url)
    store.engine = store.engine.execution_options(cellway_dialect=Standby(store.engine.url))
    with pytest.raises(Unavailable, match="standby"):
        all_owners.AllOwners(store).since(0)
    store.close()


def test_a_table_that_somebody_has_emptied_is_an_error_that_says_so(two: Topology) -> None:
    with two._store._write_engine.begin() as connection:
        row = connection.execute(select(schema.owners_table)).one()
        connection.execute(delete(schema.owners_table))
    for read in (two.owners.table, two.snapshot, lambda: two.owners.since(0)):
        with pytest.raises(DatabaseFailed, match="owners_table has lost its row"):
            read()
    with two._store._write_engine.begin() as connection:
        connection.execute(insert(schema.owners_table).values(**row._mapping))


def test_a_move_of_many_is_one_revision(two: Topology) -> None:
    lines = [
        f'{{"bucket": "route", "value": "m{n}", "cell": "cell-1", "subject": "s"}}'
        for n in range(all_owners.MAX_CHANGES + 1)
    ]
    two.bulk.import_(lines, actor=ME, reject=lambda _: None, progress=lambda _: None)
    before = two.revision()
    assert len(lines) < move.MAX_MOVED
    two.moves.move(Subject(text="s"), "cell-1", "cell-2", reason=WHY, actor=ME)
    found = two.owners.since(before)
    assert (found.upto, len(found.changes)) == (before + 1, len(lines))
    assert {change.cell_id for change in found.changes} == {2}


def test_a_held_claim_is_told_as_what_edges_ask_about(two: Topology) -> None:
    two.claims.claim([ClaimSpec("route", "a", "cell-1", "org")], actor=ME)
    plan = MovePlan("cell-1", "cell-2", WHY, {"claims": [["route", "a"]]})
    two.tenant_moves.plan(plan, actor=ME)
    two.tenant_moves.step(1, MoveStep.PREFLIGHT, actor=ME)
    before = two.revision()
    two.tenant_moves.step(1, MoveStep.FREEZE, actor=ME)
    assert all_owners.HELD == ASK
    (told,) = two.owners.since(before).changes
    assert (told.value, told.cell_id, told.is_new) == ("a", ASK, False)
    with two.owners.read() as owners:
        assert [tuple(row) for part in owners.rows for row in part] == [("route", "a", ASK)]
