"""Work on a database: the topology's errors are a command's, each with its exit status."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.cli.client import Exit, Failure
from control_plane.cli.local import database
from control_plane.settings import Settings
from control_plane.topology.values import AlreadyExists, NotFound, Refused, TopologyError


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("cell", "c1"), Exit.NOT_FOUND),
        (AlreadyExists("cell", (("c1", "c2"),)), Exit.CONFLICT),
        (Refused("it", "not now"), Exit.REFUSED),
        (TopologyError("what else"), Exit.ERROR),
    ],
)
def test_errors_of_the_topology_are_failures_in_its_words(
    error: TopologyError, status: Exit
) -> None:
    with pytest.raises(Failure) as raised, database.topology_failures():
        raise error
    assert (str(raised.value), raised.value.status) == (str(error), status)


def test_other_errors_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), database.topology_failures():
        raise ZeroDivisionError


def test_a_schema_is_migrated_once(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/t.db")
    missing = database.missing_migrations(settings)
    assert missing
    assert not list(tmp_path.iterdir()), "who only looks makes no file"
    assert database.migrate(settings) == missing
    assert (database.missing_migrations(settings), database.migrate(settings)) == ((), ())


def test_lines_are_imported_under_their_own_numbers(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    database.migrate(Settings(database_url=url))
    line = '{"bucket": "route", "value": "a", "cell": "nowhere"}'
    with database.importing(url, actor="test", dry_run=False) as claim:
        answer = claim([line, "{"], 41)
    assert (answer["created"], answer["present"]) == (0, 0)
    assert [one["line"] for one in answer["rejects"]] == [41, 42]
