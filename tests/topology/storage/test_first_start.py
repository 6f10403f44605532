"""A first start: many at once, broken-off ones, and none where a database has been."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from control_plane.topology import Topology
from control_plane.topology.storage import engines
from control_plane.topology.storage.engines import newest_schema, schema_revision
from control_plane.topology.storage.store import Store
from control_plane.topology.values import ClaimSpec, DatabaseDamaged, Refused
from tests.topology.conftest import cell_spec

ME = "tester"
STARTERS = """
import os, signal, sys
from pathlib import Path
from control_plane.topology import Topology
url, mark = sys.argv[1:]
ready, go = os.pipe()
children = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        os.close(go)
        os.read(ready, 1)
        Topology.open(url, sequence_mark=Path(mark)).close()
        os._exit(0)
    children.append(child)
os.close(go)
print([os.waitpid(child, 0)[1] for child in children])
"""
KILLED = """
import os, signal, sys
from alembic import command
from sqlalchemy import event, text
from control_plane.topology import Topology
from control_plane.topology.storage import engines
from control_plane.topology.storage.engines import _alembic, migrate, schema_revision
from control_plane.topology.storage.store import Store
from control_plane.topology.values import ClaimSpec
from tests.topology.conftest import cell_spec

url = sys.argv[1]
topology = Topology.open(url)
topology.cells.create(cell_spec(1), actor="tester")
topology.claims.claim([ClaimSpec("email", "a@b.example", "cell-1")], actor="tester")
topology.close()
step, killed = 0, True
while killed:
    store = Store(url)
    config = _alembic()
    config.attributes["engine"] = store.engine
    command.downgrade(config, "0024")
    with store.engine.connect() as connection, connection.begin():
        connection.execute(text("UPDATE claims SET value = 'a@b.example.'"))
    store.close()
    child = os.fork()
    if child == 0:
        store, left = Store(url), step
        def count(*_):
            global left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        event.listen(store.engine, "before_cursor_execute", count)
        migrate(store.engine)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    killed = os.WIFSIGNALED(status)
    store = Store(url)
    before = schema_revision(store.engine)
    with store.read() as connection:
        (value,) = connection.execute(text("SELECT value FROM claims")).one()
    # All migrations are one transaction: none of them is done, or all are.
    untouched = before == "0024" and value == "a@b.example."
    assert untouched or (before > "0025" and value == "a@b.example"), (before, value)
    migrate(store.engine)
    with store.read() as connection:
        assert connection.execute(text("SELECT value FROM claims")).all() == [("a@b.example",)]
    store.close()
    step += 3
print(step)
"""


def run(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_of_many_that_start_at_once_one_migrates_and_all_work(
    empty_url: str, tmp_path: Path
) -> None:
    assert run(STARTERS, empty_url, str(tmp_path / "mark")) == f"{[0] * 8}\n"
    topology = Topology.open(empty_url)
    assert topology.revision() == 0
    topology.close()


def test_a_migration_that_is_killed_anywhere_is_made_again_as_a_whole(empty_url: str) -> None:
    assert int(run(KILLED, empty_url)) > 5, "it was killed at several statements"


def test_no_new_database_is_made_where_one_has_been(tmp_path: Path) -> None:
    url, mark = f"sqlite:///{tmp_path}/t.db", tmp_path / "mark"
    Topology.open(url, sequence_mark=mark).close()
    Topology.open(url, sequence_mark=mark).close()
    for file in tmp_path.glob("t.db*"):
        file.unlink()
    with pytest.raises(Refused, match="--new-database"):
        Topology.open(url, sequence_mark=mark)
    assert not (tmp_path / "t.db").exists()
    # A file without a schema, as SQLite itself makes it, is no database either.
    (tmp_path / "t.db").touch()
    with pytest.raises(Refused, match="there has been one"):
        Topology.open(url, sequence_mark=mark)
    Topology.open(url, sequence_mark=mark, anew=True).close()
    Topology.open(url, sequence_mark=mark).close()


def test_a_database_of_a_newer_version_is_left_alone(url: str) -> None:
    store = Store(url)
    with store.engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    try:
        for migrate_first in (True, False):
            with pytest.raises(Refused, match="schema 9999 is of a newer version of cellway"):
                Topology.open(url, migrate_first=migrate_first)
    finally:
        with store.engine.connect() as connection, connection.begin():
            newest = newest_schema()[0]
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{newest}'")
        store.close()


@pytest.mark.parametrize("name", ["100%", "%(here)s", "a b", "ü#&;"])
def test_a_database_may_have_any_name(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "t.db"
    topology = Topology.open(f"sqlite:///{file}")
    topology.cells.create(cell_spec(1), actor=ME)
    topology.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME)
    topology.close()
    assert file.stat().st_size


def test_the_program_may_be_installed_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "100%(here)s" / "topology"
    installed.mkdir(parents=True)
    (installed / "migrations").symlink_to(Path(engines.__file__).parents[1] / "migrations")
    monkeypatch.setattr(engines, "__file__", str(installed / "storage" / "engines.py"))
    Topology.open(f"sqlite:///{tmp_path}/t.db").close()


def test_what_is_no_database_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "t.db").write_text("no database at all, but a text of some length" * 50)
    store = Store(f"sqlite:///{tmp_path}/t.db")
    with pytest.raises(DatabaseDamaged, match="file is not a database"):
        schema_revision(store.engine)
    store.close()
