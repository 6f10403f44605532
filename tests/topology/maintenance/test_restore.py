"""A restore: what it needs, what it keeps, and what is left when it is broken off."""

from __future__ import annotations

import fcntl
import json
import resource
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from control_plane.topology import Topology
from control_plane.topology.maintenance.backup import back_up
from control_plane.topology.maintenance.restore import restore
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.errors import Invalid, Refused, Unavailable
from tests.topology.conftest import cell_spec

ME = "operator"


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A database with 100 claims and a backup of them, and one more claim that is in its log."""
    database = tmp_path / "old" / "live.db"
    topology = Topology.open(f"sqlite:///{database}")
    topology.cells.create(cell_spec(1), actor=ME)
    lines = [
        json.dumps({"bucket": "route", "value": f"r{n}", "cell": "cell-1"}) for n in range(100)
    ]
    topology.bulk.import_(lines, actor=ME, reject=lambda _: None, progress=lambda _: None)
    back_up(f"sqlite:///{database}", tmp_path / "backup.db")
    topology.claims.claim([ClaimSpec("route", "later", "cell-1")], actor=ME)
    # As kill -9 of a server leaves it: what was written last is in the log only.
    shutil.copytree(database.parent, tmp_path / "killed")
    topology.close()
    shutil.rmtree(database.parent)
    (tmp_path / "killed").rename(database.parent)
    assert database.with_name("live.db-wal").stat().st_size
    return database


def test_a_restore_that_is_killed_leaves_the_old_database_or_the_new_one(
    live: Path, tmp_path: Path
) -> None:
    module = "tests.topology.maintenance.broken_off_restores"
    done = subprocess.run(
        [sys.executable, "-m", module, str(tmp_path), str(tmp_path / "work")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    left = [line.split()[1] for line in done.stdout.splitlines()]
    swapped = left.index("new")
    assert len(left) > 20, "it was killed at many steps"
    assert left == ["old"] * swapped + ["new"] * (len(left) - swapped)
    assert live.exists()


def test_a_damaged_database_can_be_replaced_and_is_kept(live: Path, tmp_path: Path) -> None:
    live.write_text("no database at all")
    # With its log, SQLite would even repair it.
    live.with_name("live.db-wal").unlink()
    restore(f"sqlite:///{live}", tmp_path / "backup.db")
    assert live.with_name("live.db.replaced").read_text() == "no database at all"
    topology = Topology.open(f"sqlite:///{live}")
    assert topology.claims.count() == {"route": 100}
    topology.close()


def test_the_log_of_a_database_that_is_gone_does_not_spoil_the_restored_one(
    live: Path, tmp_path: Path
) -> None:
    live.unlink()
    restore(f"sqlite:///{live}", tmp_path / "backup.db")
    topology = Topology.open(f"sqlite:///{live}")
    assert topology.claims.count() == {"route": 100}
    topology.close()


def test_whoever_has_the_database_open_is_noticed_even_if_idle(live: Path, tmp_path: Path) -> None:
    topology = Topology.open(f"sqlite:///{live}")
    with pytest.raises(Refused, match="in use"):
        restore(f"sqlite:///{live}", tmp_path / "backup.db")
    topology.close()
    restore(f"sqlite:///{live}", tmp_path / "backup.db")


def test_a_program_that_does_not_know_the_lock_is_noticed_too(live: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(live)) as older:
        older.execute("SELECT * FROM cells").fetchall()
        with pytest.raises(Refused, match="in use"):
            restore(f"sqlite:///{live}", tmp_path / "backup.db")
    assert not live.with_name("live.db.replaced").exists()


def test_nobody_opens_a_database_during_its_restore(
    live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.topology.storage.file_lock.RESTORE_WAIT_S", 0.1)
    lock = live.with_name("live.db.lock")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="is under way"):
            Topology.open(f"sqlite:///{live}")


def test_a_backup_of_a_newer_version_is_refused(live: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "backup.db", autocommit=True)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Invalid, match="newer version of cellway: it has schema 9999"):
        restore(f"sqlite:///{live}", tmp_path / "backup.db")


FULL = """
import resource, sys
from pathlib import Path
from control_plane.topology.maintenance.backup import back_up
from control_plane.topology.maintenance.restore import restore
from control_plane.topology.values.errors import DatabaseFull
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
url, backup = sys.argv[1:]
for work in (lambda: restore(url, Path(backup)), lambda: back_up(url, Path(backup + ".2"))):
    try:
        work()
    except DatabaseFull as error:
        print(error)
"""


def test_on_a_full_disk_nothing_is_changed_and_nothing_half_done_is_left(
    live: Path, tmp_path: Path
) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    before = sorted(tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", FULL, f"sqlite:///{live}", str(tmp_path / "backup.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert len(told) == 2, done
    assert all("has no room left" in line for line in told)
    assert sorted(tmp_path.iterdir()) == before
    left = {one.name for one in live.parent.iterdir()} - {"live.db-wal", "live.db-shm"}
    assert left == {"live.db", "live.db.lock"}
    topology = Topology.open(f"sqlite:///{live}")
    assert topology.claims.count() == {"route": 101}
    topology.close()
