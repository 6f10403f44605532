"""``cellway db``: migrations, backup and restore, and old changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.cli.client import Exit
from control_plane.topology import Topology
from control_plane.topology.values.claim import ClaimSpec
from tests.cli.cellway_command import Cellway
from tests.topology.conftest import cell_spec

cellway = Cellway("http://127.0.0.1:1")


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    opened = Topology.open(f"sqlite:///{tmp_path}/t.db")
    opened.cells.create(cell_spec(1), actor="test")
    yield opened
    opened.close()


@pytest.fixture
def url(topology: Topology, tmp_path: Path) -> tuple[str, str]:
    return ("--database-url", f"sqlite:///{tmp_path}/t.db")


def test_a_database_is_checked_and_migrated(tmp_path: Path) -> None:
    url = ("--database-url", f"sqlite:///{tmp_path}/new.db")
    missing = cellway("db", "check", "-o", "json", *url)
    assert (missing.returncode, "run cellway db migrate" in missing.stderr) == (Exit.ERROR, True)
    dry = json.loads(cellway("db", "migrate", "--dry-run", "-o", "json", *url).stdout)
    assert dry == {"dry_run": True, "migrations": json.loads(missing.stdout)["missing"]}
    assert dry["migrations"]
    assert cellway("db", "check", *url).returncode == Exit.ERROR
    done = json.loads(cellway("db", "migrate", "-o", "json", *url).stdout)
    assert done["migrations"] == dry["migrations"]
    assert cellway("db", "check", *url).returncode == 0
    assert "nothing to do" in cellway("db", "migrate", *url).stderr


def test_a_check_makes_no_file(tmp_path: Path) -> None:
    url = ("--database-url", f"sqlite:///{tmp_path}/no/where.db")
    assert cellway("db", "check", *url).returncode == Exit.ERROR
    assert cellway("db", "migrate", "-n", *url).returncode == 0
    assert cellway("db", "backup", str(tmp_path / "b"), *url).returncode == Exit.NOT_FOUND
    for command in (("advance", "1", "--yes"), ("prune", "--yes")):
        assert cellway("db", *command, *url).returncode == Exit.ERROR
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [("check",), ("migrate",), ("advance", "1", "--yes")])
@pytest.mark.parametrize("fault", ["text", "newer", "folder"])
def test_what_cannot_be_used_is_told_in_one_line(
    topology: Topology, tmp_path: Path, command: tuple[str, ...], fault: str
) -> None:
    file = tmp_path / "f.db"
    if fault == "text":
        file.write_text("this is no database at all" * 100)
    elif fault == "folder":
        file.mkdir()
    else:
        file = tmp_path / "t.db"
        with topology.engine.connect() as connection, connection.begin():
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    told = cellway("db", *command, "--database-url", f"sqlite:///{file}")
    assert told.returncode in {Exit.ERROR, Exit.REFUSED}
    expected = {
        "text": "cellway: the database is damaged: file is not a database",
        "newer": "cellway: using sqlite:///",
        "folder": "cellway: the database is unavailable: unable to open database file",
    }
    assert told.stderr.startswith(expected[fault]), told.stderr


def test_no_database_is_made_where_one_has_been_unless_told_so(tmp_path: Path) -> None:
    url = ("--database-url", f"sqlite:///{tmp_path}/t.db")
    (tmp_path / "t.db.sequence-mark.json").write_text('{"mark": 5, "cell": 1}')
    for command in ("migrate", "check"):
        refused = cellway("db", command, *url)
        assert (refused.returncode, "there has been one" in refused.stderr) == (Exit.REFUSED, True)
    assert cellway("db", "migrate", "--new-database", *url).returncode == 0
    assert cellway("db", "check", *url).returncode == 0


def test_a_check_lists_claims_that_no_look_up_finds(
    topology: Topology, url: tuple[str, str]
) -> None:
    topology.cells.create(cell_spec(2), actor="test")
    names = ("x1@globex.example", "x1@old.example")
    topology.claims.claim([ClaimSpec("email", names[0], "cell-1")], actor="test")
    topology.claims.claim([ClaimSpec("email", names[1], "cell-2")], actor="test")
    assert cellway("db", "check", *url).returncode == 0
    with topology.engine.connect() as connection, connection.begin():
        # As an older version stored an address that ended in U+3002.
        change = "UPDATE claims SET value = 'x1@globex.example.' WHERE value = 'x1@old.example'"
        connection.exec_driver_sql(change)
    checked = cellway("db", "check", *url, "-o", "json")
    assert checked.returncode == Exit.ERROR
    stored = "email:x1@globex.example. of cell-2"
    assert f"{stored} means x1@globex.example today, as does x1@globex.example of cell-1" in (
        " ".join(checked.stderr.split())
    )
    assert "1 claims are found by no look-up" in " ".join(checked.stderr.split())
    (stale,) = json.loads(checked.stdout)["stale_claims"]
    assert stale == {
        "bucket": "email",
        "value": "x1@globex.example.",
        "cell": "cell-2",
        "normal": "x1@globex.example",
        "others": [{"value": "x1@globex.example", "cell": "cell-1"}],
    }


def test_a_database_is_backed_up_and_restored(
    topology: Topology, url: tuple[str, str], tmp_path: Path
) -> None:
    backup = tmp_path / "backup.db"
    done = cellway("db", "backup", str(backup), *url, "-o", "json")
    assert json.loads(done.stdout) == {"file": str(backup), "revision": topology.revision()}
    assert cellway("db", "backup", str(backup), *url).returncode == Exit.CONFLICT
    topology.claims.claim([ClaimSpec("route", "later", "cell-1")], actor="test")
    later = topology.revision()
    in_use = cellway.started("db", "restore", str(backup), *url, "--yes")
    assert in_use.returncode == Exit.REFUSED, in_use.stderr
    topology.close()
    assert cellway("db", "restore", str(tmp_path / "no"), *url, "--yes").returncode == 3
    dry = cellway("db", "restore", str(backup), *url, "-n")
    assert (dry.returncode, "would replace" in dry.stderr) == (0, True)
    restored = cellway("db", "restore", str(backup), *url, "--yes", "-o", "json")
    assert json.loads(restored.stdout)["revision"] > later, restored.stderr
    again = Topology.open(url[1])
    assert again.claims.count() == {}
    again.close()


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    url = ("--database-url", "postgresql://u:secret@127.0.0.1:1/x")
    asked = cellway("db", "restore", str(tmp_path / "b"), *url)
    assert (asked.returncode, "u:***@" in asked.stderr) == (Exit.USAGE, True)
    assert "secret" not in asked.stderr
    pointer = cellway("db", "backup", str(tmp_path / "pg"), *url)
    assert (pointer.returncode, "pg_dump" in pointer.stderr) == (Exit.USAGE, True)


def test_a_restored_database_goes_on_above_what_was_served(
    topology: Topology, url: tuple[str, str]
) -> None:
    before = topology.revision()
    assert cellway("db", "advance", "1000", *url).returncode == Exit.USAGE
    assert "would go on above" in cellway("db", "advance", "1000", *url, "-n").stderr
    assert topology.revision() == before
    done = cellway("db", "advance", "1000", *url, "--yes", "-o", "json")
    assert json.loads(done.stdout)["revision"] == topology.revision() > 1000


def test_old_changes_are_forgotten_on_demand(
    topology: Topology, url: tuple[str, str], tmp_path: Path
) -> None:
    for number in range(8):
        topology.cells.set_health("cell-1", healthy=bool(number % 2), actor="health")
    everything = [change.as_dict() for change in topology.changes.since(0)]
    archive = tmp_path / "old.jsonl"
    prune = ("db", "prune", *url, "--keep-revisions", "4", "-o", "json")
    asked = cellway(*prune)
    assert (asked.returncode, "--yes" in asked.stderr) == (Exit.USAGE, True)
    dry = json.loads(cellway(*prune, "--dry-run").stdout)
    assert (dry["dry_run"], topology.changes.oldest()) == (True, 0)
    lost = cellway(*prune, "--yes", "--archive", str(tmp_path / "no" / "where"))
    assert (lost.returncode, "the archive" in lost.stderr) == (Exit.ERROR, True)
    assert topology.changes.oldest() == 0
    done = cellway(*prune, "--yes", "--archive", str(archive))
    forgotten = dry["forgotten"]
    assert json.loads(done.stdout) == dry | {"dry_run": False}, done.stderr
    archived = [json.loads(line) for line in archive.read_text().splitlines()]
    assert archived == everything[:forgotten]
    kept = [change.as_dict() for change in topology.changes.since(topology.changes.oldest())]
    assert kept == everything[forgotten:]
