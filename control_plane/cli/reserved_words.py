"""The files of ``cellway rules reserve``: a ruleset, route tables, and the routes that matter."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from control_plane.cli.client import Exit, Failure
from control_plane.routing.route_table.reserved import Reserved, reserve
from control_plane.routing.route_table.table import Route, RouteTableError, read_routes
from control_plane.routing.rules.problems import RulesetError

MAX_TABLE_BYTES = 16 << 20


def read_table(file: Path) -> tuple[Route, ...]:
    """Return the routes of a file.

    Raises:
        Failure: it can't be read; the message says why.
    """
    if file.stat().st_size > MAX_TABLE_BYTES:
        raise Failure(f"{file} is larger than {MAX_TABLE_BYTES} bytes")
    try:
        return read_routes(file.read_text("utf-8"))
    except (UnicodeDecodeError, RouteTableError) as error:
        raise Failure(f"{file} is no route table: {error}", Exit.USAGE) from error


def reserve_in(file: Path, document: Any, tables: Iterable[tuple[Route, ...]]) -> Reserved:
    """Return the ruleset of a file, in which the tables' own words are no names.

    Raises:
        Failure: the document is no ruleset that works.
    """
    if not isinstance(document, dict):
        raise Failure(f'{file} is no object: write {{"name": …, "rules": […]}}', Exit.USAGE)
    try:
        return reserve(document, dict.fromkeys(route for table in tables for route in table))
    except RulesetError as error:
        raise Failure(f"{file} can't work: {error}") from error


def write_ruleset(file: Path, document: Any) -> None:
    """Write a ruleset as those in ``rulesets/`` are written."""
    file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")


def write_table(file: Path, routes: Iterable[Route]) -> None:
    """Write a route table: a line for each route, with its template and ``f`` or ``-``."""
    rows = sorted((route.template, route.takes_format) for route in routes)
    lines = (f"{template}\t{'f' if takes_format else '-'}\n" for template, takes_format in rows)
    file.write_text("".join(lines), "utf-8")
