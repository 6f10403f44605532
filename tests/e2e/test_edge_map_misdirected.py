"""A cell answers 421 to what the map has sent it: the client gets a 503 that says when to come again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from control_plane.edge_module.build import build
from control_plane.topology.values.claim import ClaimSpec
from tests.e2e.tenant_cells import TenantCells
from tests.support.edge_map import map_in_step
from tests.support.raw_http import RawConnection, request_bytes
from tests.support.system import System

CELLS = ("cell-1", "cell-2")


@pytest.fixture(scope="module")
def cells() -> Iterator[TenantCells]:
    with TenantCells(*CELLS) as running:
        yield running


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, cells: TenantCells) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("misdirected")
    with System(directory, cells=0, module=build()) as running:
        for name, port in cells.ports.items():
            running.add_cell(name, port)
        running.use_ruleset("generic")
        claim = ClaimSpec("tenant", "acme", "cell-1")
        running.plane.topology.claims.claim([claim], actor="test")
        map_in_step(running)
        yield running


def test_other_answers_of_cells_stay_as_they_are(system: System, cells: TenantCells) -> None:
    cells.owners["acme"] = "cell-1"
    with RawConnection(("127.0.0.1", system.edge_port)) as connection:
        answer = connection.exchange(request_bytes(b"/t/acme/x"))
    assert answer is not None
    assert (answer.status, answer.body) == (200, b"cell-1")
    assert answer.header("x-cellway-tier") == b"edge-map"


@pytest.mark.parametrize(
    ("method", "body", "hasty"),
    [
        ("GET", b"", False),
        ("HEAD", b"", False),
        ("DELETE", b"", False),
        ("POST", b"x" * 5000, False),
        ("POST", b"x" * 500_000, True),
    ],
)
def test_the_client_is_told_to_come_again(
    system: System, cells: TenantCells, method: str, body: bytes, hasty: bool
) -> None:
    cells.owners["acme"], cells.hasty = "cell-2", hasty
    cells.got.clear()
    length = [("content-length", b"%d" % len(body))] if body else []
    request = request_bytes(b"/t/acme/x", length, method=method, body=body)
    with RawConnection(("127.0.0.1", system.edge_port)) as connection:
        answer = connection.exchange(request)
    assert answer is not None
    assert (answer.status, answer.header("retry-after")) == (503, b"5")
    assert answer.header("content-type") == b"application/problem+json"
    if method != "HEAD":
        assert b'"reason": "misdirected"' in answer.body
    # No cell was asked but the one that the map knows.
    assert [one.cell for one in cells.got] == ["cell-1"]
