"""The edges' secret: generations, what an upgrade sets, and nothing secret in the audit."""

from __future__ import annotations

import json

import pytest
from alembic import command
from sqlalchemy import delete, insert, select

from control_plane.topology import Topology, edge_secrets
from control_plane.topology.storage import schema
from control_plane.topology.storage.engines import _alembic, migrate
from control_plane.topology.values.errors import DatabaseFailed, Refused

ME = "operator"


def test_a_rotation_sends_the_next_and_still_accepts_the_one_before(two: Topology) -> None:
    first = two.edge_secrets.read()
    assert (first.generation, len(first.current), first.grace_s) == (1, 64, 0.0)
    assert first.accepted[0] == first.current == two.snapshot().edge_secret
    before = two.snapshot()
    written = two.edge_secrets.rotate(actor=ME, force=True)
    second, after = written.value, two.snapshot()
    assert second.current == after.edge_secret != first.current
    assert {first.current, second.current} < set(second.accepted)
    assert second.current in first.accepted
    assert after.edge_revision == written.revision > before.edge_revision
    assert after.answers_revision == before.answers_revision
    third = two.edge_secrets.rotate(actor=ME, force=True).value
    assert first.current not in third.accepted
    (change, _) = [one for one in two.changes.since(0) if one.kind == "edge_secret"]
    assert (change.before, change.after) == ({"generation": 1}, {"generation": 2})
    told = json.dumps([one.as_dict() for one in two.changes.since(0)]) + repr(third) + repr(after)
    assert not any(secret in told for secret in (*first.accepted, *third.accepted))


def test_a_second_rotation_needs_time_or_force(
    two: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The database may be a copy of one that was made at the beginning of the session.
    assert two.edge_secrets.rotate(actor=ME, force=True).value.generation == 2
    with pytest.raises(Refused, match="s ago, a classifier may not know of it: wait 30 s"):
        two.edge_secrets.rotate(actor=ME)
    assert two.edge_secrets.rotate(actor=ME, force=True, dry_run=True).value.generation == 3
    assert two.edge_secrets.read().generation == 2
    monkeypatch.setattr(edge_secrets, "SETTLED_S", 0.0)
    assert two.edge_secrets.rotate(actor=ME).value.generation == 3


def test_two_installations_have_different_secrets(
    two: Topology, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Topology.open(f"sqlite:///{tmp_path_factory.mktemp('other')}/o.db")
    assert other.edge_secrets.read().current != two.edge_secrets.read().current
    other.close()


def test_edges_of_an_upgraded_installation_have_a_while_to_get_it(two: Topology) -> None:
    config = _alembic()
    config.attributes["engine"] = two.engine
    command.downgrade(config, "0025")
    migrate(two.engine)
    assert 880 < two.edge_secrets.read().grace_s <= 900


def test_a_table_that_somebody_has_emptied_is_an_error_that_says_so(two: Topology) -> None:
    with two._store._write_engine.begin() as connection:
        row = connection.execute(select(schema.edge_secrets)).one()
        connection.execute(delete(schema.edge_secrets))
    for read in (two.edge_secrets.read, two.snapshot):
        with pytest.raises(DatabaseFailed, match="edge_secrets has lost its row"):
            read()
    with two._store._write_engine.begin() as connection:
        connection.execute(insert(schema.edge_secrets).values(**row._mapping))
