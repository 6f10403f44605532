"""Runs of lines that stand in several places, to the letter or with other names.

What counts are lines of code: blank lines, comments, docstrings, imports and lone brackets are passed
over. Two runs are *identical* if each line is the same text. They are *renamed* if a one-to-one
exchange of names makes them the same, whatever their strings and numbers are:

    total = price * count        width = height * ratio
    return total                 return width

Constants and tables of them, fields of classes, signatures and arguments handed on by name look alike
without repeating any logic, so the search for renamed runs needs half of the lines to be statements
and stops at a table.
"""

from __future__ import annotations

import ast
import io
import keyword
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache

from tests.house.sources import Sources, docstring_lines, nodes

MIN_LINES = 8
_TOKEN = re.compile(
    r"""\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[A-Za-z_]\w*|\d[\w.]*|\S""", re.ASCII
)
_SUBSTANCE = re.compile(r"\w")
_KEYWORDS = frozenset(keyword.kwlist)
_DECLARING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Call)
_CONTAINERS = (ast.List, ast.Tuple, ast.Set, ast.Dict)
_PLAIN = (
    *_CONTAINERS,
    ast.Constant,
    ast.Name,
    ast.Attribute,
    ast.UnaryOp,
    ast.unaryop,
    ast.expr_context,
)


class _Role(Enum):
    STATEMENT = auto()
    DECLARATION = auto()
    TABLE = auto()


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str
    shape: tuple[str, ...]
    role: _Role


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Lines of a file, the last one included."""

    path: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.path}:{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Repeat:
    """Places that share a run of lines."""

    places: tuple[Place, ...]

    @property
    def paths(self) -> list[str]:
        """The files of the places."""
        return [place.path for place in self.places]

    def __str__(self) -> str:
        return " ~ ".join(map(str, self.places))


def find_repeats(sources: Sources, min_lines: int = MIN_LINES) -> list[Repeat]:
    """Return the runs of at least so many lines that stand in two places or more."""
    files = {path: list(_lines(source)) for path, source in sources.items()}
    groups: list[list[_Window]] = []
    groups += _alike(files, min_lines, _texts)
    for shaped in _alike(files, min_lines, _shapes):
        renamed: dict[Hashable, list[_Window]] = defaultdict(list)
        for path, start in shaped:
            renamed[_names(files[path][start : start + min_lines])].append((path, start))
        groups += [group for group in renamed.values() if _is_repeated(group, min_lines)]
    return sorted(_merged(groups, files, min_lines), key=lambda one: one.places)


type _Window = tuple[str, int]
"""A file, and the index of the first line of a run among its lines of code."""


def _lines(source: str) -> Iterator[_Line]:
    passed = set(docstring_lines(source))
    roles: dict[int, _Role] = {}
    for node in nodes(source):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            passed.update(_span(node))
        elif isinstance(node, _DECLARING):
            roles.update(dict.fromkeys(_declared(node), _Role.DECLARATION))
            roles.update(dict.fromkeys(_cases(node), _Role.TABLE))
        elif isinstance(node, ast.Assign) and _is_constant(node):
            roles.update(dict.fromkeys(_span(node), _Role.DECLARATION))
        elif isinstance(node, _CONTAINERS) and len(_span(node)) > 2 and _is_plain(node):
            roles.update(dict.fromkeys(_span(node), _Role.TABLE))
    for number, line in enumerate(io.StringIO(source), 1):
        text = line.strip()
        if number not in passed and not text.startswith("#") and _SUBSTANCE.search(text):
            yield _Line(number, text, _shape(text), roles.get(number, _Role.STATEMENT))


@cache
def _shape(text: str) -> tuple[str, ...]:
    """Return the tokens of a line with x for each name, s for each string, 0 for each number."""
    return tuple(map(_letter, _TOKEN.findall(text)))


def _span(node: ast.stmt | ast.expr) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _declared(node: ast.AST) -> Iterator[int]:
    """Yield the lines of signatures, of a class's fields, and of arguments handed on by name."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            yield from range(first, max(node.body[0].lineno, node.lineno + 1))
        case ast.Call():
            for argument in node.keywords:
                if argument.value.lineno > node.lineno and _is_plain(argument.value):
                    yield from _span(argument.value)
    if isinstance(node, ast.ClassDef):
        for field in node.body:
            if isinstance(field, (ast.Assign, ast.AnnAssign)):
                yield from _span(field)


def _cases(node: ast.AST) -> Iterable[int]:
    """Return the lines of a test's cases."""
    match node:
        case ast.Call(func=ast.Attribute(attr="parametrize")):
            return _span(node)
        case _:
            return ()


def _is_constant(node: ast.Assign) -> bool:
    """Tell whether a statement names a text or a number: ``CELL_HEADER = "x-cell"``."""
    match node.targets:
        case [ast.Name(id=name)]:
            return name.isupper() and isinstance(node.value, (ast.Constant, ast.JoinedStr))
        case _:
            return False


def _is_plain(node: ast.expr) -> bool:
    return all(isinstance(one, _PLAIN) for one in ast.walk(node))


@cache
def _letter(token: str) -> str:
    first = token[0]
    if first.isalpha() or first == "_":
        return token if token in _KEYWORDS else "x"
    return "s" if first in "\"'" else "0" if first.isdigit() else token


def _texts(lines: Sequence[_Line]) -> Hashable:
    return tuple(line.text for line in lines)


def _shapes(lines: Sequence[_Line]) -> Hashable | None:
    roles = [line.role for line in lines]
    if _Role.TABLE in roles or roles.count(_Role.STATEMENT) * 2 < len(roles):
        return None
    return tuple(line.shape for line in lines)


def _names(lines: Sequence[_Line]) -> Hashable:
    """Return the pattern of the names: the first name is 0, the next other one is 1."""
    numbers: dict[str, int] = {}
    return tuple(
        numbers.setdefault(token, len(numbers))
        for line in lines
        for token, letter in zip(_TOKEN.findall(line.text), line.shape, strict=True)
        if letter == "x"
    )


def _alike(
    files: dict[str, list[_Line]],
    min_lines: int,
    key: Callable[[Sequence[_Line]], Hashable | None],
) -> list[list[_Window]]:
    buckets: dict[Hashable, list[_Window]] = defaultdict(list)
    for path, lines in files.items():
        for start in range(len(lines) - min_lines + 1):
            shared = key(lines[start : start + min_lines])
            if shared is not None:
                buckets[hash(shared)].append((path, start))
    return [group for group in buckets.values() if _is_repeated(group, min_lines)]


def _is_repeated(group: Sequence[_Window], min_lines: int) -> bool:
    """Tell whether there are two places: a run that overlaps itself is one."""
    return len({path for path, _ in group}) > 1 or (
        len(group) > 1 and group[-1][1] - group[0][1] >= min_lines
    )


def _merged(
    groups: Iterable[Sequence[_Window]], files: dict[str, list[_Line]], min_lines: int
) -> Iterator[Repeat]:
    """Join runs that overlap in a file, with all their other places."""
    parents: dict[_Window, _Window] = {}

    def root(window: _Window) -> _Window:
        while parents.setdefault(window, window) != window:
            window = parents[window]
        return window

    for group in groups:
        for window in group:
            parents[root(window)] = root(group[0])
    for path, start in list(parents):
        if (path, start + 1) in parents:
            parents[root((path, start))] = root((path, start + 1))
    joined: dict[_Window, list[_Window]] = defaultdict(list)
    for window in sorted(parents):
        joined[root(window)].append(window)
    for windows in joined.values():
        yield Repeat(tuple(_places(windows, files, min_lines)))


def _places(
    windows: Sequence[_Window], files: dict[str, list[_Line]], min_lines: int
) -> Iterator[Place]:
    first = 0
    for number, (path, start) in enumerate(windows):
        if number + 1 == len(windows) or windows[number + 1] != (path, start + 1):
            lines = files[path]
            yield Place(path, lines[windows[first][1]].number, lines[start + min_lines - 1].number)
            first = number + 1
