"""GitLab's route table for tests: paths of its routes, and the words that are GitLab's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from control_plane.routing.route_table.table import (
    FORMAT,
    NAME,
    Route,
    read_routes,
    sample_paths,
)

ROOT = Path(__file__).parents[2]
TABLES = (ROOT / "tests/data/gitlab_routes.tsv", ROOT / "rulesets/gitlab_routes.tsv")
BUCKETS = ("route", "redirect_route", "username", "organization_path")
"""The buckets of names that stand in paths."""
FILLS = (NAME, f"{NAME}/{NAME}", f"{NAME}/dependency_proxy/{NAME}")


def routes() -> tuple[Route, ...]:
    """Return the routes of a sample of GitLab's table, and those with words that rules may meet."""
    return tuple(route for table in TABLES for route in read_routes(table.read_text()))


def pages() -> list[str]:
    """Return paths of all routes, whose names are `NAME`."""
    return sorted({path.text for route in routes() for path in sample_paths(route, FILLS)})


def words() -> list[str]:
    """Return each segment that a route's template says itself, and so with a format suffix."""
    segments = {
        segment
        for route in routes()
        for segment in re.sub(r"[()]", "", route.template).split("/")
        if segment and not re.search(r"[:*\\]", segment)
    }
    return sorted({spelling for word in segments for spelling in (word, f"{word}{FORMAT}")})


def spellings(path: str) -> Iterator[bytes]:
    """Return targets that GitLab takes for the page at a path."""
    yield path.encode()
    yield f"{path}?to=/users/sign_in&username=admin".encode()
    yield f"{path.replace('/', '//')}?"[:-1].encode()
    yield re.sub(r"/(\w)", lambda first: f"/%{ord(first[1]):02X}", path).encode()
    yield f"/.{path}".encode()
    if not path.endswith(FORMAT):
        yield f"{path}/".encode()
