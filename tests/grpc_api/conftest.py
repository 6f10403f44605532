"""A database with cells, a PostgreSQL server, and the service over each of them."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.grpc_api.wire_client import Wire, prepare, serving
from tests.support.postgres import Postgres, postgres

_PREPARED = "prepared"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with cells: copying it takes a tenth of making it."""
    path = tmp_path_factory.mktemp("grpc_api") / "prepared.db"
    prepare(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """A PostgreSQL server, with a database to copy."""
    with postgres() as running, running.database(_PREPARED) as url:
        prepare(url)
        yield running


@contextlib.contextmanager
def _copied(server: Postgres) -> Iterator[str]:
    name = f"wire_{next(_numbers)}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {_PREPARED}".encode())
        yield server.url(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
async def wire(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Wire]:
    """On SQLite; on PostgreSQL where the parameter says so."""
    if getattr(request, "param", "sqlite") == "sqlite":
        path = tmp_path / "topology.db"
        shutil.copy(request.getfixturevalue("prepared"), path)
        async with serving(f"sqlite:///{path}") as made:
            yield made
        return
    with _copied(request.getfixturevalue("server")) as url:
        async with serving(url) as made:
            yield made
