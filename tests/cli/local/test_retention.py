"""Old changes are forgotten: as many as a dry run has counted, and none without an archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.cli.client import Exit, Failure
from control_plane.cli.local.retention import prune
from control_plane.settings import Settings
from control_plane.topology import Topology
from tests.topology.conftest import cell_spec


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    opened = Topology.open(f"sqlite:///{tmp_path}/t.db")
    opened.cells.create(cell_spec(1), actor="test")
    for number in range(8):
        opened.cells.set_health("cell-1", healthy=bool(number % 2), actor="health")
    yield opened
    opened.close()


def keeping(tmp_path: Path, **more: Any) -> Settings:
    url = f"sqlite:///{tmp_path}/t.db"
    return Settings(database_url=url, data_dir=tmp_path, changes_kept_revisions=4, **more)


def test_as_much_is_forgotten_as_was_counted(tmp_path: Path, topology: Topology) -> None:
    counted = prune(keeping(tmp_path), dry_run=True)
    assert topology.changes.oldest() == 0
    assert prune(keeping(tmp_path), dry_run=False) == counted
    assert topology.changes.oldest() == counted[1] > 0


def test_nothing_is_forgotten_that_can_t_be_archived(tmp_path: Path, topology: Topology) -> None:
    settings = keeping(tmp_path, changes_archive=tmp_path / "no" / "where")
    with pytest.raises(Failure, match="nothing more was forgotten: the archive") as raised:
        prune(settings, dry_run=False)
    assert raised.value.status is Exit.ERROR
    assert topology.changes.oldest() == 0


def test_a_database_that_is_not_migrated_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="db migrate"):
        prune(keeping(tmp_path), dry_run=True)
