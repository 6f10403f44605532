"""Claims that an older version stored under keys which nobody looks up any more."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from alembic import command
from sqlalchemy import insert

from control_plane.topology import Topology
from control_plane.topology.storage import schema
from control_plane.topology.storage.engines import _alembic, migrate
from control_plane.topology.storage.spellings import StaleClaim, stale_claims
from control_plane.topology.storage.store import Store
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.errors import Invalid, Refused
from tests.topology.conftest import cell_spec

AT = datetime(2026, 1, 1, tzinfo=UTC)
STORED = [
    ("email", "x1@globex.example", "cell-1", None),
    ("email", "x1@globex.example.", "cell-2", "x1@globex.example\u3002"),
    ("host", "acme.example:443", "cell-1", "ACME.example:443"),
    ("host", "beta.example:443", "cell-2", None),
    ("host", "twice.example:1", "cell-1", None),
    ("host", "twice.example:2", "cell-2", None),
    ("host", "a..b", "cell-2", None),
    ("route", "fine", "cell-1", "Fine"),
]
CLASHES = [
    ("email", "x1@globex.example.", "cell-2", (("x1@globex.example", "cell-1"),)),
    ("host", "a..b", "cell-2", ()),
    ("host", "twice.example:1", "cell-1", (("twice.example:2", "cell-2"),)),
    ("host", "twice.example:2", "cell-2", (("twice.example:1", "cell-1"),)),
]


def downgrade(store: Store) -> None:
    config = _alembic()
    config.attributes["engine"] = store.engine
    command.downgrade(config, "0024")


def store_claims(store: Store, claims: list[tuple[str, str, str, str | None]]) -> None:
    """Write claims as an older version has stored them."""
    with store.engine.connect() as connection, connection.begin():
        for number, (bucket, value, cell, spelling) in enumerate(claims):
            row = {
                "bucket": bucket, "value": value, "cell_id": int(cell[-1]), "spelling": spelling,
                "revision": 1, "created_at": AT, "updated_at": AT, "uuid": f"{number:036}",
                "status": "active", "subject_type": 0, "subject_id": 0, "source_type": 0,
            }  # fmt: skip
            connection.execute(insert(schema.claims).values(**row))


def listed(topology: Topology) -> list[tuple[str, str, str, str | None]]:
    return [(one.bucket, one.value, one.cell, one.spelling) for one in topology.claims.page()]


def stale(topology: Topology) -> list[StaleClaim]:
    with topology._store.read() as connection:
        return stale_claims(connection)


@pytest.fixture
def old(empty_url: str) -> str:
    """A database of the version before, with stale claims."""
    with contextlib.closing(Topology.open(empty_url)) as topology:
        for number in (1, 2):
            topology.cells.create(cell_spec(number), actor="test")
        downgrade(topology._store)
        store_claims(topology._store, STORED)
    return empty_url


def test_the_migration_rewrites_what_is_free_and_loses_nothing(old: str) -> None:
    with contextlib.closing(Topology.open(old)) as topology:
        claims = listed(topology)
        assert len(claims) == len(STORED)
        assert set(claims) - set(STORED) == {
            ("host", "acme.example", "cell-1", "ACME.example:443"),
            ("host", "beta.example", "cell-2", "beta.example:443"),
        }
        assert topology.claims.owners_of([("host", "beta.example:80")]) == [2]
        (created,) = topology.claims.audit("host", "beta.example")
        assert (created.action, created.actor) == ("create", "migration 0025")
        assert (
            created.revision
            == topology.revision()
            == topology.claims.get("host", "beta.example").revision
        )
        found = stale(topology)
        assert [(one.bucket, one.value, one.cell, one.others) for one in found] == CLASHES
        assert [one.normal for one in found] == [
            "x1@globex.example", None, "twice.example", "twice.example",
        ]  # fmt: skip


def test_a_migrated_database_is_left_alone(old: str) -> None:
    with contextlib.closing(Topology.open(old)) as topology:
        before, revision = listed(topology), topology.revision()
        downgrade(topology._store)
        migrate(topology._store.engine)
        assert (listed(topology), topology.revision()) == (before, revision)


def test_an_operator_releases_a_stale_claim_as_it_is_stored(old: str) -> None:
    with contextlib.closing(Topology.open(old)) as topology:
        wrong = [("email", "x1@globex.example."), ("host", "a..b"), ("host", "twice.example:2")]
        with pytest.raises(Refused, match="cell-2 owns it"):
            topology.claims.release(wrong[:1], actor="test", cell="cell-1")
        released = topology.claims.release(wrong, actor="test").value
        assert [(one.bucket, one.value, one.cell) for one in released] == [
            (*key, "cell-2") for key in wrong
        ]
        assert topology.claims.owners_of([("email", "x1@globex.example")]) == [1]
        for key in (("host", "a..b"), ("host", "a\x00b"), ("ho\x00st", "a"), ("\ud800", "a")):
            with pytest.raises(Invalid):
                topology.claims.release([key], actor="test")
        topology.claims.release([("host", "twice.example:1")], actor="test")
        topology.claims.claim([ClaimSpec("host", "twice.example:2", "cell-2")], actor="test")
        assert stale(topology) == []


def test_a_lease_settles_a_claim_that_was_rewritten_meanwhile(old: str) -> None:
    lease = "00000000-0000-4000-8000-000000000001"
    with (
        contextlib.closing(Store(old)) as store,
        store.engine.connect() as connection,
        connection.begin(),
    ):
        connection.exec_driver_sql(
            "INSERT INTO leases (uuid, cell_id, state, destroys, revision, created_at,"
            f" updated_at) VALUES ('{lease}', 1, 'open', 1, 1, '2026-01-01', '2026-01-01')"
        )
        connection.exec_driver_sql(
            f"UPDATE claims SET status = 'destroying', lease = '{lease}'"
            " WHERE value = 'acme.example:443'"
        )
        row = {"lease": lease, "bucket": "host", "value": "acme.example:443", "uuid": "u",
               "subject_type": 1, "subject_id": 9, "source_type": 0, "created_at": AT}  # fmt: skip
        connection.execute(insert(schema.replacements).values(**row, spelling="acme.EXAMPLE"))
    with contextlib.closing(Topology.open(old)) as topology:
        topology.leases.commit(1, lease, actor="test")
        record = topology.records.get("host", "acme.example")
        assert (record.spec.value, record.spec.subject_id) == ("acme.EXAMPLE", 9)
