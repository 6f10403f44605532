"""Which room a file lies in, and which rooms it may import: the table of CONTRIBUTING.md.

A place is a folder (``control_plane/xds/session/``) or a file (``control_plane/names.py``). A file
belongs to the room with the longest place that holds it, so a room inside another can have rules of
its own. Places that may be imported are written without ``control_plane/`` and without a slash at
the end; ``xds/*.py`` are the files of a folder without those of its folders.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.house.graph import circles
from tests.house.imports import Import, Imports

NOTHING = "nothing of ours"
NO_PYTHON = "no Python"
_ROOT = "control_plane/"
_NAME = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Room:
    """Places that follow one rule; they may import each other, as long as there is no circle."""

    places: frozenset[str]
    may_import: frozenset[str]


def room(*places: str, imports: Iterable[str] = ()) -> Room:
    """Return a room of these places."""
    return Room(frozenset(places), frozenset(imports))


def read_table(markdown: str) -> list[Room]:
    """Return the rooms of the table "folder | what lives there | may import" of a page.

    Raises:
        ValueError: there is no such table, or rows of a table stand apart from it (a blank line
            ends a table), or a third column is neither names nor "nothing of ours".
    """
    blocks: list[list[str]] = [[]]
    for line in markdown.splitlines():
        if line.startswith("|"):
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    tables = [block for block in blocks if block]
    for block in tables:
        if len(block) < 2 or not re.fullmatch(r"[|\s:-]+", block[1]):
            raise ValueError(f"rows apart from their table: {block[0]}")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for block in tables
        if "may import" in block[0]
        for line in block[2:]
    ]
    if not rows:
        raise ValueError("no table with a column 'may import'")
    return [_row(cells) for cells in rows if cells[-1] != NO_PYTHON]


def _row(cells: Sequence[str]) -> Room:
    places, what, imports = cells
    names = _NAME.findall(imports)
    if not what or not _NAME.findall(places):
        raise ValueError(f"a room without a place or a description: {cells}")
    apart = _NAME.sub("", imports).strip(", ")
    if apart != ("" if names else NOTHING):
        raise ValueError(f"neither names of rooms nor {NOTHING!r}: {imports}")
    return room(*_NAME.findall(places), imports=names)


def compare(ours: Sequence[Room], page: Sequence[Room]) -> list[str]:
    """Return what a page's table says otherwise than ours, in words."""
    by_places = {one.places: one for one in ours}
    of_page = {one.places: one for one in page}
    wrong = [f"listed twice on the page: {_names(one.places)}" for one in _repeated(page)]
    wrong += [f"not on the page: {_names(places)}" for places in by_places.keys() - of_page.keys()]
    wrong += [
        f"on the page alone: {_names(places)}" for places in of_page.keys() - by_places.keys()
    ]
    for places in by_places.keys() & of_page.keys():
        rule, said = by_places[places].may_import, of_page[places].may_import
        if rule != said:
            wrong.append(
                f"{_names(places)} may import {_names(rule)}; the page says {_names(said)}"
            )
    return sorted(wrong)


def _repeated(rooms: Sequence[Room]) -> list[Room]:
    return [one for number, one in enumerate(rooms) if one in rooms[:number]]


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or NOTHING


class House:
    """Rooms, and the modules that lie in them."""

    def __init__(self, rooms: Sequence[Room], imports: Imports) -> None:
        self._rooms = rooms
        self._imports = imports
        self._room_of = {name: self._find(path) for name, path in imports.paths.items()}

    def _find(self, path: str) -> Room | None:
        holding = [
            (len(place), one) for one in self._rooms for place in one.places if holds(place, path)
        ]
        return max(holding, key=lambda pair: pair[0])[1] if holding else None

    @property
    def homeless(self) -> list[str]:
        """Files that lie in no room (the packages that only hold rooms are none)."""
        return sorted(
            self._imports.paths[name]
            for name, own in self._room_of.items()
            if own is None and "." in name
        )

    @property
    def empty_places(self) -> list[str]:
        """Places of the table that hold no file."""
        paths = self._imports.paths.values()
        return sorted(
            place
            for one in self._rooms
            for place in one.places
            if not any(holds(place, path) for path in paths)
        )

    def forbidden(self) -> list[Import]:
        """Return the imports that the table doesn't allow."""
        return [one for one in self._imports.arrows if not self._is_allowed(one)]

    def _is_allowed(self, one: Import) -> bool:
        own, other = self._room_of[one.importer], self._room_of[one.target]
        if own is None or other is None:
            return True  # homeless, or a package that only holds rooms
        path = self._imports.paths[one.target]
        return own is other or any(_covers(name, path) for name in own.may_import)


def holds(place: str, path: str) -> bool:
    """Tell whether a file lies at a place."""
    return path.startswith(place) if place.endswith("/") else path == place


def _covers(name: str, path: str) -> bool:
    """Tell whether a name of the third column stands for a file."""
    starts = [_ROOT + name, name]
    if name.endswith("/*.py"):
        folders = [start.removesuffix("*.py") for start in starts]
        return any(path.rpartition("/")[0] + "/" == folder for folder in folders)
    return any(path == f"{start}.py" or path.startswith(f"{start}/") for start in starts)


def unit(module: str, parts: int) -> str:
    """Return the room (two parts of the dotted name) or sub-room (three) of a module."""
    return ".".join(module.split(".")[:parts])


def module_circles(arrows: Iterable[Import]) -> list[list[str]]:
    """Return the circles between modules, however their imports are written."""
    return circles((one.importer, one.target) for one in arrows)


def unit_circles(arrows: Iterable[Import], parts: int) -> list[list[str]]:
    """Return the circles between rooms (parts=2) or sub-rooms (parts=3).

    A file that lies at the top of a room is a sub-room of its own. The face of a room
    (``__init__.py``) belongs to the room as a whole, so it is left out.
    """
    return circles(
        (unit(one.importer, parts), unit(one.target, parts))
        for one in arrows
        if one.importer.count(".") >= parts - 1 and one.target.count(".") >= parts - 1
    )


type Exceptions = Mapping[tuple[str, str], str]
"""Imports that break a rule today: (importer, target) → why."""


def without(arrows: Iterable[Import], exceptions: Exceptions) -> list[Import]:
    """Return the imports that no exception excuses."""
    return [one for one in arrows if (one.importer, one.target) not in exceptions]


def imported_tests(arrows: Iterable[Import]) -> list[str]:
    """Return the imports of test modules: what two of them use belongs in a module without tests."""
    return sorted(
        f"{one.importer} → {one.target}"
        for one in arrows
        if one.target.rpartition(".")[2].startswith("test_")
    )


def all_circles(arrows: Iterable[Import]) -> list[list[str]]:
    """Return the circles between modules, between sub-rooms and between rooms."""
    given = list(arrows)
    return [*module_circles(given), *unit_circles(given, 3), *unit_circles(given, 2)]


def stale_exceptions(house: House, imports: Imports, exceptions: Exceptions) -> list[str]:
    """Return the exceptions that excuse nothing: the import is gone, or breaks no rule any more."""
    forbidden = {(one.importer, one.target) for one in house.forbidden()}
    rest = without(imports.arrows, exceptions)
    circles_of_rest = len(all_circles(rest))
    needed = forbidden | {
        (one.importer, one.target)
        for one in imports.arrows
        if (one.importer, one.target) in exceptions
        and len(all_circles([*rest, one])) > circles_of_rest
    }
    return sorted(f"{importer} → {target}" for importer, target in exceptions.keys() - needed)
