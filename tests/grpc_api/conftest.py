from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.grpc_api.wire import Wire, serving
from tests.postgres import Postgres, postgres

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
async def wire(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Wire]:
    """On SQLite; on PostgreSQL where the parameter says so."""
    if getattr(request, "param", "sqlite") == "sqlite":
        async with serving(f"sqlite:///{tmp_path}/topology.db") as made:
            yield made
        return
    running: Postgres = request.getfixturevalue("server")
    with running.database(f"wire_{next(_numbers)}") as url:
        async with serving(url) as made:
            yield made
