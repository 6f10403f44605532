"""One REST server for the tests of a module, which use cells and claims of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from control_plane.topology import Topology
from tests.cli.cellway_command import Cellway
from tests.support.rest_server import RestServer
from tests.topology.conftest import cell_spec


@dataclass(frozen=True, slots=True)
class Rest:
    """A server with cell-1 and cell-2, seen as its users and its database see it."""

    cellway: Cellway
    topology: Topology
    database_url: str
    server: str


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    path = tmp_path_factory.mktemp("rest")
    url = f"sqlite:///{path}/api.db"
    topology = Topology.open(url)
    for number in (1, 2):
        topology.cells.create(cell_spec(number), actor="test")
    with RestServer(path) as server:
        yield Rest(Cellway(server.url), topology, url, server.url)
    topology.close()


@pytest.fixture(scope="module")
def cellway(rest: Rest) -> Cellway:
    return rest.cellway


@pytest.fixture(scope="module")
def topology(rest: Rest) -> Topology:
    return rest.topology
