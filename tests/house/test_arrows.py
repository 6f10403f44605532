"""Who imports whom in this repository: the table, circles, and what a program loads."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

import pytest

from tests.house import exceptions
from tests.house.exceptions import judge
from tests.house.graph import way
from tests.house.imports import Imports, read_imports
from tests.house.rooms import (
    House,
    all_circles,
    compare,
    imported_tests,
    read_table,
    stale_exceptions,
    without,
)
from tests.house.sources import ROOT, is_migration, read_sources
from tests.house.table import ROOMS

MUST_NOT_LOAD = {
    "control_plane.classifier.worker.main": "control_plane.server",
    "control_plane.examples.cell": "control_plane.server",
    "control_plane.example_cell": "control_plane.server",
}
"""Programs that a machine runs many of, and what would make each of them heavy."""

LEAVES = {
    "control_plane.names": (),
    "control_plane.process": (),
    "control_plane.settings": (),
    "control_plane.shipped": (),
    "control_plane.routing": ("control_plane.names",),
    "control_plane.xds": ("control_plane.names",),
    "control_plane.edge_health": (),
    "control_plane.topology.values": ("control_plane.names",),
}
"""Rooms below all others, and what else they may load."""


@cache
def repository() -> Imports:
    """All imports, except for those of the small trees that the tests of the house hold in strings."""
    return read_imports(
        {
            path: source
            for path, source in read_sources().items()
            if not path.startswith("tests/house/test_")
        }
    )


@cache
def house() -> House:
    return House(ROOMS, repository())


@cache
def loads() -> list[tuple[str, str]]:
    """What loading a module loads, without what the exceptions excuse."""
    return [arrow for arrow in repository().loads if arrow not in exceptions.ARROWS]


def below(*packages: str) -> list[str]:
    """The modules of some packages."""
    return [
        name
        for name in repository().paths
        if any(name == package or name.startswith(f"{package}.") for package in packages)
    ]


def test_contributing_shows_the_table() -> None:
    assert compare(ROOMS, read_table((ROOT / "CONTRIBUTING.md").read_text())) == []


def test_every_file_lies_in_a_room() -> None:
    assert judge(house().homeless, exceptions.HOMELESS) == []


def test_every_place_of_the_table_holds_a_file() -> None:
    assert judge(house().empty_places, exceptions.PLACES) == []


def test_imports_follow_the_table() -> None:
    assert [str(one) for one in without(house().forbidden(), exceptions.ARROWS)] == []


def test_nothing_imports_in_a_circle() -> None:
    circles = all_circles(without(repository().arrows, exceptions.ARROWS))
    assert [" → ".join(circle) for circle in circles] == []


def test_no_test_module_is_imported() -> None:
    assert imported_tests(repository().arrows) == []


def test_every_exception_is_needed() -> None:
    assert stale_exceptions(house(), repository(), exceptions.ARROWS) == []


def test_every_import_and_every_started_program_leads_to_a_module() -> None:
    assert [str(one) for one in repository().unresolved] == []


def test_no_program_loads_what_would_make_it_heavy() -> None:
    assert MUST_NOT_LOAD.keys() <= repository().paths.keys()
    ways = [way(loads(), program, below(heavy)) for program, heavy in MUST_NOT_LOAD.items()]
    assert [" → ".join(path) for path in ways if path] == []


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_loads_no_other_room(leaf: str) -> None:
    assert below(leaf) or f"{leaf.replace('.', '/')}.py" in exceptions.PLACES
    around = {leaf.rsplit(".", number)[0] for number in range(1, leaf.count(".") + 1)}
    others = repository().paths.keys() - {*below(leaf, *LEAVES[leaf]), *around}
    ways = [way(loads(), module, others) for module in below(leaf)]
    assert [" → ".join(path) for path in ways if path] == []


def test_modules_are_imported_without_side_effects() -> None:
    names = [
        name
        for name in below("addons", "bench", "control_plane")
        if not name.endswith(".__main__") and not is_migration(repository().paths[name])
    ]
    command = [sys.executable, "-m", "tests.house.loading"]
    done = subprocess.run(
        command, input="\n".join(names), capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert json.loads(done.stdout) == []
