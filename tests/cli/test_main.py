"""``cellway`` as a whole: options anywhere, help, exit statuses, and a start that loads little."""

from __future__ import annotations

import subprocess
import sys

import pytest

from control_plane.cli.client import Exit
from control_plane.cli.main import hoist
from tests.cli.cellway_command import Cellway
from tests.house.imports import Kind, read_imports
from tests.house.sources import read_sources

CLI = "control_plane/cli/"
NOWHERE = Cellway("http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("arguments", "hoisted"),
    [
        ("cells list -o json", "-o json cells list"),
        ("cells list -ojson", "-ojson cells list"),
        ("cells list --output=json", "--output=json cells list"),
        ("explain /x -H a:b --server=u -n", "--server=u -n explain /x -H a:b"),
        ("claims claim c -- -o", "claims claim c -- -o"),
        ("cells list -o", "-o cells list"),
    ],
)
def test_options_of_all_commands_may_stand_anywhere(arguments: str, hoisted: str) -> None:
    assert hoist(arguments.split()) == hoisted.split()


def test_help_calls_the_command_by_its_name() -> None:
    assert "Usage: cellway claims get" in NOWHERE.started("claims", "get", "--help").stdout


def test_help_of_the_whole_says_every_exit_status() -> None:
    text = " ".join(NOWHERE("--help").stdout.split())
    statuses = text.partition("Exit statuses:")[2].split("╭")[0]
    assert [status for status in Exit if f"{int(status)} " not in statuses] == []


def test_a_server_that_is_away_is_named_on_stderr_alone() -> None:
    ended = NOWHERE("cells", "list")
    assert (ended.returncode, ended.stdout) == (Exit.ERROR, "")
    assert ended.stderr.startswith("cellway: can't reach http://127.0.0.1:1")


def test_commands_that_call_a_server_load_nothing_of_one() -> None:
    """They start in a fraction of the time; whoever works at 3 a.m. waits for each."""
    heavy = "{'sqlalchemy', 'pydantic', 'grpc', 'starlette', 'alembic'}"
    code = f"import sys, control_plane.cli.main; print(*{heavy}.intersection(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_imports_in_functions_lead_to_the_places_that_load_much_and_nowhere_else() -> None:
    places = (
        "control_plane.cli.local",
        "control_plane.cli.rule_case",
        "control_plane.cli.rule_tiers",
    )
    sources = read_sources()
    imports = read_imports({path: sources[path] for path in sources if path.startswith(CLI)})
    arrows = [*imports.recorded, *imports.unresolved]
    inner = {one for one in arrows if one.kind in (Kind.FUNCTION, Kind.TYPE_CHECKING)}
    heavy = {one for one in arrows if one.target.startswith(places)}
    within = {one for one in heavy if one.importer.startswith(places)}
    assert inner
    assert inner == heavy - within
