"""How long files and functions are, how much of them is explained, and what else can be counted."""

from __future__ import annotations

import ast
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from tests.house.imports import Imports
from tests.house.rooms import unit
from tests.house.sources import Sources, functions, nodes, parse

MAX_FILE = 400
MAX_FILE_P90 = 300
MAX_FUNCTION = 60
MAX_FUNCTION_P90 = 25
MAX_TOPOLOGY_PAIRS = 40
"""Pairs of sub-rooms of topology of which one imports the other."""
MAX_TOPOLOGY_STATEMENTS = 132
"""Import statements in topology that lead from one sub-room to another."""

_JUNK = re.compile(r"(^|_)(utils?|helpers?|common|managers?|misc|shared)$")


@dataclass(frozen=True, slots=True)
class Length:
    """The number of lines of a file or a function."""

    lines: int
    name: str

    def __str__(self) -> str:
        return f"{self.lines:4} {self.name}"


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, the length that nine of ten stay below, and the longest."""

    median: float
    p90: int
    most: int

    def __str__(self) -> str:
        return f"{self.median:g} / {self.p90} / {self.most}"


def spread(lengths: Iterable[Length]) -> Spread:
    """Return the spread of some lengths; at least one."""
    lines = sorted(one.lines for one in lengths)
    return Spread(statistics.median(lines), lines[int(len(lines) * 0.9)], lines[-1])


def file_lengths(sources: Sources) -> list[Length]:
    """Return the lines of each file, longest first."""
    return _longest_first(Length(source.count("\n"), path) for path, source in sources.items())


def function_lengths(sources: Sources) -> list[Length]:
    """Return the lines of each function, from ``def`` to its end, longest first."""
    return _longest_first(
        Length((node.end_lineno or node.lineno) - node.lineno + 1, f"{path}:{name}")
        for path, source in sources.items()
        for name, node in functions(parse(source))
    )


def _longest_first(lengths: Iterable[Length]) -> list[Length]:
    return sorted(lengths, key=lambda one: (-one.lines, one.name))


@dataclass(frozen=True, slots=True)
class Explained:
    """The share of public definitions with a docstring, their lines, and the share of comments."""

    documented: float
    docstring_median: float
    comments: float


def explained(sources: Sources) -> Explained:
    """Return how much of some files is explained."""
    docstrings = [
        ast.get_docstring(node)
        for source in sources.values()
        for node in nodes(source)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
    ]
    written = [text.count("\n") + 1 for text in docstrings if text]
    lines = [line.strip() for source in sources.values() for line in source.splitlines()]
    return Explained(
        len(written) / max(1, len(docstrings)),
        statistics.median(written or [0]),
        sum(line.startswith("#") for line in lines) / max(1, len(lines)),
    )


def without_docstring(sources: Sources) -> list[str]:
    """Return the files that hold code and don't say what they are for."""
    return sorted(
        path
        for path, source in sources.items()
        if source.strip() and ast.get_docstring(parse(source)) is None
    )


def junk_drawers(sources: Sources) -> list[str]:
    """Return the modules and packages whose names say nothing, such as ``utils``."""
    return sorted(
        path
        for path in sources
        if any(_JUNK.search(part) for part in PurePosixPath(path).with_suffix("").parts)
    )


def asserted_parts(sources: Sources) -> list[str]:
    """Return each ``assert x is not None``, which says what a type should say."""
    return sorted(
        f"{path}: {ast.unparse(node)}"
        for path, source in sources.items()
        for node in nodes(source)
        if isinstance(node, ast.Assert)
        and any(isinstance(one, ast.IsNot) for one in ast.walk(node.test))
    )


@dataclass(frozen=True, slots=True)
class RoomImports:
    """Imports between the sub-rooms of a room: statements, and pairs of sub-rooms."""

    statements: int
    pairs: int


def imports_between(imports: Imports, room: str) -> RoomImports:
    """Count the imports of a room's files that lead to another of its sub-rooms.

    A statement is one line, however many names it imports. A file at the top of the room is a
    sub-room of its own.
    """
    between = [
        one
        for one in imports.recorded
        if one.kind.is_import
        and all(name.startswith(f"{room}.") for name in (one.importer, one.target))
        and unit(one.importer, 3) != unit(one.target, 3)
    ]
    statements = {(one.importer, one.line) for one in between}
    pairs = {(unit(one.importer, 3), unit(one.target, 3)) for one in between}
    return RoomImports(len(statements), len(pairs))


def ratios_of_tests(sources: Sources) -> dict[str, float]:
    """Return the lines of ``tests/x`` for each line of ``control_plane/x``, by room."""
    lines: dict[str, int] = defaultdict(int)
    for path, source in sources.items():
        lines["/".join(path.split("/")[:2])] += source.count("\n")
    return {
        folder.partition("/")[2]: lines.get(f"tests/{folder.partition('/')[2]}", 0) / count
        for folder, count in lines.items()
        if folder.startswith("control_plane/") and not folder.endswith(".py")
    }


def untested_modules(sources: Sources) -> list[str]:
    """Return the modules of control_plane that have logic, and no test file of their name.

    ``control_plane/xds/session/delta.py`` wants ``tests/xds/session/test_delta.py``. A module has
    logic if one of its functions branches, loops or does three things one after the other.
    """
    tests = {path for path in sources if path.startswith("tests/")}
    untested = []
    for path, source in sources.items():
        folder, _, name = path.partition("/")[2].rpartition("/")
        wanted = "/".join(part for part in ("tests", folder, f"test_{name}") if part)
        if path.startswith("control_plane/") and wanted not in tests and _has_logic(parse(source)):
            untested.append(path)
    return sorted(untested)


def _has_logic(tree: ast.Module) -> bool:
    branches = (
        ast.If,
        ast.IfExp,
        ast.For,
        ast.AsyncFor,
        ast.While,
        ast.Try,
        ast.comprehension,
        ast.match_case,
    )
    return any(
        len(node.body) > 3 or any(isinstance(one, branches) for one in ast.walk(node))
        for _, node in functions(tree)
    )
