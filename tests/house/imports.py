"""Who imports whom, read from the syntax trees of the files: nothing is executed.

An import of ours is recorded wherever it stands: at the top of a file, in a function, under
``TYPE_CHECKING``, relative, or as ``importlib.import_module("control_plane.x")``. The programs that
are started with ``python -m control_plane.x``, and the imports of programs that stand in a string, are
recorded as kinds of their own: starting a process is not an import, but the module must exist.

``from package import name`` leads to ``package.name`` where that is a module, else to ``package``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import pairwise

from tests.house.sources import Sources, module_name, parse

_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)
_EXPRESSIONS = (*_STATEMENTS, ast.expr, ast.withitem, ast.keyword)
_IMPORTED = re.compile(r"(?:^|[;\n])[ \t]*(?:from|import)[ \t]+([a-z][\w.]*)")
_STARTED = re.compile(r"(?:^|\s)-m\s+([a-z][\w.]*)")


class Kind(StrEnum):
    """Where and how an import is written."""

    MODULE = "module"
    FUNCTION = "function"
    TYPE_CHECKING = "TYPE_CHECKING"
    IMPORTLIB = "importlib"
    START = "python -m"
    PROGRAM = "program in a string"

    @property
    def is_import(self) -> bool:
        """Tell whether it is an import of the file itself, not one of another process."""
        return self not in (Kind.START, Kind.PROGRAM)


@dataclass(frozen=True, slots=True, order=True)
class Import:
    """One module of ours reaches another (names are dotted)."""

    importer: str
    target: str
    kind: Kind
    line: int
    relative: bool = False

    def __str__(self) -> str:
        return f"{self.importer} → {self.target} (line {self.line}, {self.kind})"


@dataclass(frozen=True)
class Imports:
    """All imports of a tree.

    ``paths`` has the path of each module; ``unresolved`` holds imports of ours that name no module of
    the tree, such as an import in a function that was forgotten when a file moved.
    """

    paths: dict[str, str]
    recorded: list[Import]
    unresolved: list[Import]

    @cached_property
    def arrows(self) -> list[Import]:
        """Imports proper: without the processes that are started, and without repetitions."""
        seen: dict[tuple[str, str], Import] = {}
        for one in self.recorded:
            if one.kind.is_import and one.importer != one.target:
                seen.setdefault((one.importer, one.target), one)
        return list(seen.values())

    @cached_property
    def loads(self) -> list[tuple[str, str]]:
        """What loading a module loads: its imports and the packages around these.

        Imports under ``TYPE_CHECKING`` load nothing. Those in functions count: they are executed
        sooner or later.
        """
        executed = [
            (one.importer, one.target)
            for one in self.recorded
            if one.kind.is_import and one.kind is not Kind.TYPE_CHECKING
        ]
        around = [
            (name, name.rpartition(".")[0])
            for name in self.paths
            if name.rpartition(".")[0] in self.paths
        ]
        return executed + around


def read_imports(sources: Sources) -> Imports:
    """Return the imports of all files of a tree."""
    paths = {module_name(path): path for path in sources}
    packages = {name.rpartition(".")[0] for name in paths}
    roots = {path.partition("/")[0] for path in sources}
    recorded: set[Import] = set()
    unresolved: set[Import] = set()
    for path, source in sources.items():
        reader = _Reader(path, source)
        for name in reader.read():
            if name.target.partition(".")[0] not in roots:
                continue
            inner = f"{name.target}.{name.attribute}"
            target = inner if inner in paths else name.target
            one = Import(reader.name, target, name.kind, name.line, name.relative)
            if target in paths:
                recorded.add(one)
            elif target not in packages:
                unresolved.add(one)
    return Imports(paths, sorted(recorded), sorted(unresolved))


@dataclass(frozen=True, slots=True)
class _Name:
    """A module as a file spells it, made absolute; ``attribute`` is the y of ``from x import y``."""

    target: str
    kind: Kind
    line: int
    attribute: str = ""
    relative: bool = False


class _Reader:
    """Reads the imports of one file, of other people's modules too."""

    def __init__(self, path: str, source: str) -> None:
        self.name = module_name(path)
        self._package = self.name if path.endswith("/__init__.py") else self.name.rpartition(".")[0]
        self._tree = parse(source)
        # Few files start programs or import by a string; only their expressions are looked at.
        is_plain = not any(mark in source for mark in ('"-m"', "'-m'", " -m ", "import_", '"-c"'))
        self._bearing = _STATEMENTS if is_plain else _EXPRESSIONS
        self._texts = {
            target.id: node.value.value
            for node in self._tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def read(self) -> Iterator[_Name]:
        """Yield each import."""
        waiting: list[tuple[ast.AST, Kind]] = [(self._tree, Kind.MODULE)]
        while waiting:
            node, kind = waiting.pop()
            yield from self._at(node, kind)
            for name, value in ast.iter_fields(node):
                inner = _kind_inside(node, name, kind)
                children = value if isinstance(value, list) else (value,)
                waiting += [
                    (child, inner)
                    for child in children
                    if isinstance(child, self._bearing) and not _is_docstring(child)
                ]

    def _at(self, node: ast.AST, kind: Kind) -> Iterator[_Name]:
        """Yield the imports of one node, without those below it."""
        match node:
            case ast.Import():
                for alias in node.names:
                    yield _Name(alias.name, kind, node.lineno)
            case ast.ImportFrom():
                target = self._absolute(node.module or "", node.level)
                for alias in node.names:
                    yield _Name(target, kind, node.lineno, alias.name, node.level > 0)
            case ast.Call():
                yield from self._called(node)
                yield from self._started(node.args)
            case ast.List() | ast.Tuple():
                yield from self._started(node.elts)
            case ast.Constant(value=str(text)):
                for name in _STARTED.findall(text):
                    yield _Name(name, Kind.START, node.lineno)
                for name in _IMPORTED.findall(text):
                    yield _Name(name, Kind.PROGRAM, node.lineno)

    def _absolute(self, name: str, level: int) -> str:
        if not level:
            return name
        package = self._package.split(".")
        above = package[: len(package) - level + 1]
        return ".".join([*above, name] if name else above)

    def _called(self, call: ast.Call) -> Iterator[_Name]:
        match call.func:
            case ast.Name(id=called) | ast.Attribute(attr=called):
                text = self._text(call.args[0]) if call.args else None
            case _:
                return
        if called in ("import_module", "__import__") and text is not None:
            name = text.lstrip(".")
            level = len(text) - len(name)
            target = self._absolute(name, level)
            yield _Name(target, Kind.IMPORTLIB, call.lineno, relative=level > 0)

    def _started(self, words: list[ast.expr]) -> Iterator[_Name]:
        for flag, module in pairwise(words):
            is_flag = isinstance(flag, ast.Constant) and flag.value == "-m"
            text = self._text(module) if is_flag else None
            if text is not None:
                yield _Name(text, Kind.START, module.lineno)

    def _text(self, node: ast.expr) -> str | None:
        """Return what a string says, or a name that the file gives to a string."""
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.Name(id=name):
                return self._texts.get(name)
            case _:
                return None


def _kind_inside(node: ast.AST, field: str, kind: Kind) -> Kind:
    """Return the kind of the imports that stand in a field of a node, such as its body."""
    if kind is Kind.MODULE and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return Kind.FUNCTION
    if isinstance(node, ast.If) and field == "body" and _is_type_checking(node.test):
        return Kind.TYPE_CHECKING
    return kind


def _is_type_checking(test: ast.expr) -> bool:
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return True
        case _:
            return False


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
