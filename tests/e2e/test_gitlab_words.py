"""Through the real edge: whoever claims GitLab's own words gets none of its pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from control_plane.routing.admission.admit import Refused
from control_plane.routing.model import Status
from control_plane.routing.route_table.table import NAME
from tests.support import gitlab_pages
from tests.support.raw_client import RawClient
from tests.support.system import System

EVIL = "cell-3"
"""It takes no new traffic, so only a claim or a session leads to it."""
HOST = b"gitlab.example.com"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("words"), classifier_workers=1) as running:
        for name, port in running.cell_ports.items():
            running.add_cell(name, port, state="cordoned" if name == EVIL else "active")
        for bucket in gitlab_pages.BUCKETS:
            running.claim("cell-2", f"{bucket}:{NAME}")
        running.use_ruleset("gitlab")
        yield running


def set_state(system: System, state: str) -> None:
    path = f"/v1/cells/{EVIL}?wait=fleet&timeout=20s"
    system.write("PATCH", path, {"state": state}, **{"if-match": "*"})


def test_no_page_moves_when_each_word_of_the_table_is_claimed(system: System) -> None:
    pages = gitlab_pages.pages()
    before = {page: system.expected("GET", page.encode(), HOST, []) for page in pages}
    set_state(system, "active")
    for bucket in gitlab_pages.BUCKETS:
        system.claim(EVIL, *(f"{bucket}:{word}" for word in gitlab_pages.words()))
    set_state(system, "cordoned")
    moved = []
    with RawClient(system.edge_port) as client:
        assert client.ask(b"/sign_in/project")[1]["x-example-cell"] == EVIL, "it has its own pages"
        for page, wanted in before.items():
            assert not isinstance(wanted, Refused)
            assert not isinstance(wanted.outcome, Status)
            # The second answer comes from the edge's cache.
            for _ in range(2):
                _, answered, _ = client.ask(page.encode())
                cell = answered.get("x-example-cell")
                same = cell is not None and wanted.allows(cell)
                if not same or answered.get("x-cellway-rule") != wanted.rule:
                    moved.append((page, cell, answered.get("x-cellway-rule"), wanted.rule))
    assert moved == []
