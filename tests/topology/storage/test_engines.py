"""Which URLs are accepted, how they connect, and how a schema is brought up to date."""

from __future__ import annotations

import contextlib

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from control_plane.topology import Topology
from control_plane.topology.storage.dialect import dialect_of
from control_plane.topology.storage.engines import _alembic, migrate, parse_url, pending_migrations
from control_plane.topology.storage.store import Store
from control_plane.topology.values.errors import Invalid

on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://u:p@h:5432/db?sslmode=require", "postgresql+psycopg"),
        ("postgres://h/db", "postgresql+psycopg"),
        ("postgresql+psycopg://h/db", "postgresql+psycopg"),
        ("sqlite:///x.db", "sqlite"),
    ],
)
def test_urls_as_operators_write_them(url: str, driver: str) -> None:
    assert parse_url(url).drivername == driver


@on_postgresql
def test_every_connection_notices_a_machine_that_is_gone(url: str) -> None:
    given = f"{url}{'&' if '?' in url else '?'}keepalives_idle=7"
    with contextlib.closing(Store(given)) as store:
        for engine in (store.engine, store._write_engine):
            with engine.connect() as connection:
                driver = connection.connection.driver_connection
                assert driver is not None
                told = driver.info.get_parameters()
                assert told["keepalives_idle"] == "7", "the URL's own word counts"
                assert told["tcp_user_timeout"] == "25000"
        arguments, options = store.engine.dialect.create_connect_args(store.engine.url)
        assert not arguments
        assert options["keepalives_count"] == "3", "look-ups and wake-ups connect with these"


@pytest.mark.parametrize("url", ["mysql://h/db", "postgresql+asyncpg://h/db", "no url", ""])
def test_other_databases_are_refused_clearly(url: str) -> None:
    with pytest.raises(Invalid, match="sqlite:///FILE or postgresql://"):
        parse_url(url)


def _config(store: Store) -> Config:
    dialect_of(store.engine).make()
    config = _alembic()
    config.attributes["engine"] = store.engine
    return config


def test_claims_of_the_first_schema_come_along(empty_url: str) -> None:
    store = Store(empty_url)
    command.upgrade(_config(store), "0001")
    with store.engine.connect() as connection, connection.begin():
        connection.execute(
            text(
                "INSERT INTO cells (id, name, address, state, weight, healthy, version, details)"
                " VALUES (1, 'cell-1', 'c.example', 'active', 100, :yes, 1, :details)"
            ),
            {
                "yes": True,
                "details": '{"endpoints": [["10.0.0.1", 1]], "tls": null, "labels": {},'
                ' "health_check_path": null, "sequence_ranges": [[1, 100], [201, 300]]}',
            },
        )
        for name in ("a", "b"):
            connection.execute(
                text(
                    "INSERT INTO claims (bucket, value, cell_id, revision, created_at)"
                    " VALUES ('route', :name, 1, 1, '2026-01-01 00:00:00')"
                ),
                {"name": name},
            )
    store.close()
    topology = Topology.open(empty_url)
    made = [topology.records.get("route", name) for name in ("a", "b")]
    assert {one.status for one in made} == {"active"}
    assert len({one.uuid for one in made}) == 2
    assert all(len(one.uuid) == 36 and one.created_at == one.updated_at for one in made)
    assert topology.sequences.high_water_mark().mark == 300
    assert [(one.cell, one.allotted) for one in topology.sequences.uses()] == [("cell-1", 200)]
    topology.claims.release([("route", "a")], actor="m")
    topology.close()


def test_migrations_can_be_taken_back(empty_url: str) -> None:
    store = Store(empty_url)
    migrate(store.engine)
    command.downgrade(_config(store), "base")
    assert pending_migrations(store.engine) == (
        "0001",
        "0002",
        "0003",
        "0010",
        "0015",
        "0020",
        "0021",
        "0022",
        "0023",
        "0024",
        "0025",
        "0026",
        "0027",
        "0028",
        "0029",
        "0030",
        "0031",
    )
    migrate(store.engine)
    store.close()
