"""Whether writes work, on real databases that refuse them, and that take them again."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from control_plane.topology import Topology
from control_plane.topology.storage import sqlite
from control_plane.topology.values import (
    ClaimSpec,
    DatabaseDenied,
    DatabaseFull,
    DatabaseSlow,
    ReadOnly,
    Unavailable,
)
from tests.support.postgres import Postgres
from tests.topology.conftest import cell_spec

ME = "tester"
on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def trouble(topology: Topology) -> str | None:
    """Return why writes fail. A property would be narrowed by each assertion."""
    return topology.write_trouble


def claim(topology: Topology, name: str) -> None:
    topology.claims.claim([ClaimSpec("route", name, "cell-1")], actor=ME)


@pytest.fixture
def alone(server: Postgres) -> Iterator[str]:
    """A database of a server, with a role of its own, that other tests don't use."""
    with server.database("refusing") as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE ROLE refused LOGIN")
            connection.execute("GRANT ALL ON SCHEMA public TO refused")
        try:
            yield url.replace("postgres@", "refused@")
        finally:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("DROP OWNED BY refused")
                connection.execute("DROP ROLE refused")


def as_operator(url: str, *statements: str) -> None:
    with psycopg.connect(url.replace("refused@", "postgres@"), autocommit=True) as connection:
        for one in statements:
            connection.execute(one.encode())


CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'refused'"


def test_while_writes_work_nothing_is_written_to_find_out(two: Topology) -> None:
    before = two.revision()
    two.check_writes()
    assert (trouble(two), two.revision()) == (None, before)


def test_sessions_that_have_become_read_only_are_given_up(alone: str) -> None:
    topology = Topology.open(alone)
    topology.cells.create(cell_spec(1), actor=ME)
    as_operator(alone, "ALTER ROLE refused SET default_transaction_read_only = on", CUT)
    with pytest.raises(ReadOnly, match="read-only transaction"):
        claim(topology, "a")
    assert "takes no writes" in str(trouble(topology))
    topology.check_writes()
    assert trouble(topology) is not None, "the trial is refused as well"
    # As after a failover: old sessions stay as they are, and new ones can write.
    as_operator(alone, "ALTER ROLE refused SET default_transaction_read_only = off")
    topology.check_writes()
    assert trouble(topology) is None
    claim(topology, "a")
    topology.close()


def test_an_idle_control_plane_notices_that_writes_would_fail(alone: str) -> None:
    topology = Topology.open(alone)
    as_operator(alone, "ALTER ROLE refused SET default_transaction_read_only = on", CUT)
    with pytest.raises(Unavailable):
        # The pool finds its connection cut, and makes another.
        topology.cells.create(cell_spec(1), actor=ME)
    topology.check_writes()
    assert "takes no writes" in str(trouble(topology))
    topology.close()


def test_a_missing_right_and_a_timeout_are_told_as_such(alone: str) -> None:
    topology = Topology.open(alone)
    topology.cells.create(cell_spec(1), actor=ME)
    topology.close()
    as_operator(
        alone, "ALTER TABLE changes OWNER TO postgres", "REVOKE ALL ON changes FROM refused"
    )
    topology = Topology.open(alone)
    with pytest.raises(DatabaseDenied, match="permission denied for table changes"):
        claim(topology, "a")
    topology.check_writes()
    assert "denies a right" in str(trouble(topology))
    as_operator(alone, "GRANT ALL ON changes TO refused")
    topology.check_writes()
    assert trouble(topology) is None
    topology.close()
    as_operator(alone, "ALTER ROLE refused SET statement_timeout = '50ms'")
    topology = Topology.open(alone)
    with psycopg.connect(alone.replace("refused@", "postgres@")) as other:
        other.execute("SELECT * FROM revisions FOR UPDATE")
        with pytest.raises(DatabaseSlow, match="statement timeout"):
            claim(topology, "b")
    assert trouble(topology) is None, "one slow write says nothing of others"
    claim(topology, "b")
    topology.close()


@on_sqlite
def test_a_full_database_is_told_as_full_and_goes_on_when_there_is_room(two: Topology) -> None:
    claim(two, "before")

    def limit(pages: int) -> None:
        with two.engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    limit(1)  # That is as many as it has.
    with pytest.raises(DatabaseFull, match="make room"):
        for number in range(1000):
            claim(two, f"r{number}")
    assert "no room" in str(trouble(two))
    two.check_writes()
    assert "no room" in str(trouble(two)), "the trial needs room as well"
    limit(1_000_000)
    two.check_writes()
    assert trouble(two) is None
    assert two.claims.get("route", "before").cell == "cell-1"
    claim(two, "after")


WRITER = """
import resource, sys
from control_plane.topology import Topology
from control_plane.topology.values import ClaimSpec, DatabaseFull
topology = Topology.open(sys.argv[1])
size = topology.log_bytes()
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (max(size, 65536), hard))
def claim(name):
    topology.claims.claim([ClaimSpec("route", name, "cell-1")], actor="w")
written = 0
try:
    for number in range(1000):
        claim(f"w{number}")
        written += 1
except DatabaseFull as error:
    print(written, error)
topology.check_writes()
print(topology.write_trouble)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
topology.check_writes()
print(topology.write_trouble)
claim("again")
topology.close()
"""


@on_sqlite
def test_a_limit_on_the_size_of_files_is_told_as_full(two: Topology, tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    url = f"sqlite:///{tmp_path}/t.db"
    done = subprocess.run(
        [sys.executable, "-c", WRITER, url],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told, trouble, calm = done.stdout.splitlines()
    assert "has no room left: disk I/O error; make room" in told
    assert "no room" in trouble
    assert calm == "None"
    count = two.claims.count()["route"]
    assert count == int(told.split()[0]) + 1, "what was acknowledged is there, and nothing else"


@on_sqlite
def test_a_file_that_is_gone_is_noticed_and_no_empty_one_takes_its_place(
    two: Topology, tmp_path: Path
) -> None:
    (tmp_path / "t.db").rename(tmp_path / "moved.db")
    two.check_writes()
    assert "is gone" in str(trouble(two))
    with pytest.raises(Unavailable, match="there is no file"):
        claim(two, "a")
    assert not (tmp_path / "t.db").exists()
    (tmp_path / "moved.db").rename(tmp_path / "t.db")
    two.check_writes()
    assert trouble(two) is None
    claim(two, "a")


def test_a_long_read_lets_the_log_grow_and_it_is_cut_down_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LOG_BYTES", 65_536)
    monkeypatch.setattr(sqlite, "CHECKPOINT_PAGES", 16)
    topology = Topology.open(f"sqlite:///{tmp_path}/t.db")
    topology.cells.create(cell_spec(1), actor=ME)
    with contextlib.closing(sqlite3.connect(tmp_path / "t.db")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM cells").fetchall()
        while (topology.log_bytes() or 0) < 4 * 65_536:
            claim(topology, f"r{topology.revision()}")
        topology.check_writes()
        assert (topology.log_bytes() or 0) >= 4 * 65_536, "the read still needs it"
        assert trouble(topology) is None
        reader.execute("COMMIT")
        topology.check_writes()
        assert topology.log_bytes() == 0
    claim(topology, "after")
    topology.close()


@on_sqlite
def test_a_file_that_takes_the_place_of_the_database_is_neither_read_nor_written(
    two: Topology, tmp_path: Path
) -> None:
    claim(two, "a")
    other = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(tmp_path / "t.db")) as copied:
        copied.execute("VACUUM INTO ?", (str(other),))
    before = other.read_bytes()
    other.replace(tmp_path / "t.db")
    two.check_writes()
    assert "another file has been put" in str(trouble(two))
    with pytest.raises(Unavailable, match="another file"):
        claim(two, "b")
    with pytest.raises(Unavailable, match="another file"):
        two.claims.count()
    assert (tmp_path / "t.db").read_bytes() == before
