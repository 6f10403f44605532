"""Each test of the topology runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from control_plane.topology import Topology
from control_plane.topology.storage.engines import migrate
from control_plane.topology.storage.schema import metadata
from control_plane.topology.storage.store import Store
from control_plane.topology.values.cell import CellSpec, CellState
from control_plane.topology.values.endpoint import Endpoint
from tests.support.postgres import Postgres, postgres

ENGINES = ("sqlite", "postgresql")
_MIGRATED = "migrated"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """A PostgreSQL server for the whole session, with a migrated database."""
    with postgres() as running:
        with psycopg.connect(running.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {_MIGRATED}")
        store = Store(running.url(_MIGRATED))
        migrate(store.engine)
        store.close()
        yield running


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_url(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table."""
    if engine == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    with request.getfixturevalue("server").database(f"empty_{next(_numbers)}") as made:
        yield made


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database to copy."""
    made = tmp_path_factory.mktemp("migrated") / "t.db"
    store = Store(f"sqlite:///{made}")
    migrate(store.engine)
    store.close()
    return made


@pytest.fixture
def url(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database without content."""
    if engine == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "t.db")
        yield f"sqlite:///{tmp_path}/t.db"
        return
    made = request.getfixturevalue("server").url(_MIGRATED)
    yield made
    # Emptying takes a tenth of what making a database takes; cells last, claims point at them.
    kept = {"revisions", "sequence_marks", "cells", "edge_secrets", "owners_table"}
    names = [name for name in metadata.tables if name not in kept]
    with psycopg.connect(made, autocommit=True) as connection, connection.pipeline():
        for name in (*names, "cells"):
            connection.execute(f"DELETE FROM {name}".encode())
        connection.execute("UPDATE sequence_marks SET mark = 0, floor = 0")
        connection.execute("UPDATE edge_secrets SET generation = 1, demanded_at = now()")
        connection.execute(
            "UPDATE revisions SET revision = 0, edge_revision = 0, oldest_change = 0,"
            " answers_revision = NULL, answers_as_of = NULL"
        )


@pytest.fixture
def topology(url: str) -> Iterator[Topology]:
    opened = Topology.open(url)
    yield opened
    opened.close()


def cell_spec(number: int) -> CellSpec:
    return CellSpec(
        f"cell-{number}",
        f"cell-{number}.example.com",
        (Endpoint("10.0.0.1", 443),),
        session_prefix=f"cell-{number}",
        state=CellState.ACTIVE,
    )


@pytest.fixture
def two(topology: Topology) -> Topology:
    """A topology with cell-1 (id 1) and cell-2 (id 2)."""
    for number in (1, 2):
        topology.cells.create(cell_spec(number), actor="tester")
    return topology
