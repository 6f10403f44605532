"""Constants that stand in two modules, where one should import the other's."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.house.sources import Sources, docstring_lines, nodes, parse

_CONSTANT = re.compile(r"[A-Z][A-Z0-9_]*")
OURS = ("type.googleapis.com/", "x-cellway-")
"""Texts that begin like this name something on a wire: each stands in one module only."""


@dataclass(frozen=True, slots=True)
class Doubled:
    """A constant, or a text from the wire, and the files that spell it out."""

    what: str
    paths: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.what} in {', '.join(self.paths)}"


def doubled_constants(sources: Sources) -> list[Doubled]:
    """Return the names that two modules give to the same literal value.

    ``_LIMIT = 10`` and ``LIMIT = 10`` are the same; ``LIMIT = 10`` and ``LIMIT = 20`` are not.
    """
    return _doubled(
        (f"{name.lstrip('_')} = {ast.unparse(value)}", path)
        for path, source in sources.items()
        for name, value in _assigned(parse(source))
        if _CONSTANT.fullmatch(name.lstrip("_")) and _is_literal(value)
    )


def doubled_wire_names(sources: Sources) -> list[Doubled]:
    """Return the type URLs and header names that two modules spell out."""
    found = []
    for path, source in sources.items():
        documentation = docstring_lines(source)
        found += [
            (repr(node.value), path)
            for node in nodes(source)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.startswith(OURS)
            and node.lineno not in documentation
        ]
    return _doubled(found)


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value


def _is_literal(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except ValueError:
        return isinstance(value, ast.BinOp) and all(map(_is_literal, (value.left, value.right)))
    return True


def _doubled(found: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> list[Doubled]:
    paths: dict[str, set[str]] = defaultdict(set)
    for what, path in found:
        paths[what].add(path)
    return [
        Doubled(what, tuple(sorted(where)))
        for what, where in sorted(paths.items())
        if len(where) > 1
    ]
