"""Backups of a database in use, and what comes back of them."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest

from control_plane.topology import Topology
from control_plane.topology.maintenance.backup import advance, back_up
from control_plane.topology.maintenance.restore import restore
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.errors import (
    AlreadyExists,
    DatabaseFull,
    Gone,
    Invalid,
    NotFound,
    Refused,
)
from tests.topology.conftest import cell_spec

ME = "operator"


def claim(topology: Topology, number: int) -> None:
    lines = [
        json.dumps({"bucket": "route", "value": f"r{n}", "cell": "cell-1"}) for n in range(number)
    ]
    topology.bulk.import_(lines, actor=ME, reject=lambda _: None, progress=lambda _: None)


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/live.db"


def test_a_backup_without_room_names_its_own_file_and_leaves_none(
    file_url: str, tmp_path: Path
) -> None:
    Topology.open(file_url).close()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(DatabaseFull, match=r"b\.db: No space left on device; make room"):
            back_up(file_url, tmp_path / "b.db")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.glob("b.db*")) == []


def test_a_backup_is_of_one_moment_while_writers_go_on(file_url: str, tmp_path: Path) -> None:
    topology = Topology.open(file_url)
    topology.cells.create(cell_spec(1), actor=ME)
    claim(topology, 1000)
    revision = topology.revision()
    pages: list[tuple[int, int]] = []
    assert (
        back_up(file_url, tmp_path / "b.db", lambda done, of: pages.append((done, of))) == revision
    )
    assert pages[-1][0] == pages[-1][1]
    topology.claims.claim([ClaimSpec("route", "later", "cell-1")], actor=ME)
    with pytest.raises(AlreadyExists):
        back_up(file_url, tmp_path / "b.db")
    topology.close()
    assert not list(tmp_path.glob("b.db?*")), "a backup is one file"

    restored = restore(file_url, tmp_path / "b.db")
    assert restored > revision + 1, "revisions never go back"
    topology = Topology.open(file_url)
    assert topology.revision() == topology.snapshot().edge_revision == restored
    assert topology.claims.count() == {"route": 1000}
    assert topology.claims.owners_of([("route", "later")]) == [None]
    with pytest.raises(Gone):
        topology.changes.since(revision)
    assert (
        topology.claims.claim([ClaimSpec("route", "x", "cell-1")], actor=ME).revision
        == restored + 1
    )
    topology.close()
    with pytest.raises(Refused, match="move it away"):
        restore(file_url, tmp_path / "b.db")


def test_what_is_no_backup_is_not_restored(file_url: str, tmp_path: Path) -> None:
    topology = Topology.open(file_url)
    topology.cells.create(cell_spec(1), actor=ME)
    claim(topology, 3000)
    topology.close()
    back_up(file_url, tmp_path / "good.db")
    content = (tmp_path / "good.db").read_bytes()
    (tmp_path / "cut.db").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.db").write_text("no database at all")
    for name in ("cut.db", "text.db"):
        with pytest.raises(Invalid, match="damaged"):
            restore(file_url, tmp_path / name)
    with pytest.raises(NotFound):
        restore(file_url, tmp_path / "missing.db")
    with pytest.raises(NotFound):
        back_up(f"sqlite:///{tmp_path}/none.db", tmp_path / "x.db")
    with pytest.raises(Invalid, match="pg_dump"):
        back_up("postgresql://nobody@/db", tmp_path / "x.db")
    topology = Topology.open(file_url)
    assert topology.claims.count() == {"route": 3000}
    topology.close()


def test_a_database_in_use_is_not_replaced(file_url: str, tmp_path: Path) -> None:
    topology = Topology.open(file_url)
    topology.cells.create(cell_spec(1), actor=ME)
    back_up(file_url, tmp_path / "b.db")
    lookup = topology.claim_lookup()
    with topology._store.read() as connection:
        connection.exec_driver_sql("SELECT * FROM cells").all()
        with pytest.raises(Refused, match="in use"):
            restore(file_url, tmp_path / "b.db")
    lookup.close()
    assert topology.cells.get("cell-1").name == "cell-1"
    topology.close()


def test_revisions_go_on_above_what_a_fleet_has_seen(two: Topology) -> None:
    assert advance(two._store, 500) == 501
    assert two.revision() == 501
    assert advance(two._store, 3) == 502
    assert two.snapshot().edge_revision == 502
    with pytest.raises(Gone):
        two.changes.since(5)
    assert two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME).revision == 503
