"""The Python files of this repository, as texts by path, and which of them people write."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("addons", "bench", "control_plane", "proto", "requirements", "tests")

type Sources = Mapping[str, str]
"""The text of each file, by its path below the repository's root, with forward slashes.

The checkers take one, so that their tests can hand them small trees that exist only in memory:
``{"control_plane/routing/model.py": "import control_plane.server"}``.
"""


@cache
def read_sources() -> Sources:
    """Return the text of every .py file of this repository."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


@cache
def parse(source: str) -> ast.Module:
    """Return the syntax tree of a file. Each text is parsed once; nobody may change the tree."""
    return ast.parse(source)


def is_generated(path: str) -> bool:
    """Tell whether a program writes this file."""
    return "/generated/" in path


def is_migration(path: str) -> bool:
    """Tell whether this file is a step of the database's history, which is never edited."""
    return "/migrations/" in path


def hand_written(sources: Sources, *folders: str) -> dict[str, str]:
    """Return the files below the folders (all by default) that people write and edit."""
    return {
        path: source
        for path, source in sources.items()
        if not is_generated(path)
        and not is_migration(path)
        and (not folders or path.startswith(tuple(f"{folder}/" for folder in folders)))
    }


def module_name(path: str) -> str:
    """Return the dotted name under which a file is imported."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield each function and method with its dotted name inside the file."""
    waiting: list[tuple[str, ast.AST]] = [("", tree)]
    while waiting:
        prefix, parent = waiting.pop()
        for node in ast.iter_child_nodes(parent):
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    yield prefix + node.name, node
                    waiting.append((f"{prefix}{node.name}.", node))
                case ast.ClassDef():
                    waiting.append((f"{prefix}{node.name}.", node))
                case ast.stmt() | ast.excepthandler() | ast.match_case():
                    waiting.append((prefix, node))


@cache
def nodes(source: str) -> tuple[ast.AST, ...]:
    """Return all nodes of a file's syntax tree."""
    return tuple(ast.walk(parse(source)))


@cache
def docstring_lines(source: str) -> frozenset[int]:
    """Return the lines of the strings that stand as statements: docstrings and those of fields."""
    return frozenset(
        line
        for node in nodes(source)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    )
