"""Reads a route table, and gives example paths of its routes.

A template is written as Rails and Grape write it: ``:name`` stands for one segment, ``*name`` for
one or more, and what stands in parentheses may be left out. For example, these are paths of
``/users/:username(/activity)``:

    /users/~/activity
    /users/~

``~`` is the sample of a name here. A path remembers which of its characters are the template's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

NAME = "zq-name-zq"
"""The sample of a name: characters that a name of any kind may have."""
FORMAT = ".json"
"""The sample of a format suffix."""
MAX_OPTIONAL_PARTS = 8
MAX_ROUTES = 100_000
_TOKEN = re.compile(r"\\(?P<escaped>.)|(?P<one>:\w+)|(?P<many>\*\w+)|(?P<text>.)", re.DOTALL)
_GROUP = re.compile(r"(?<!\\)\((?P<inner>(?:[^()\\]|\\.)*)\)")


class RouteTableError(ValueError):
    """A route table can't be read; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Route:
    """One line of a route table."""

    template: str
    takes_format: bool = False
    """Whether a path may have a format suffix, such as ``.json``, at its end."""


@dataclass(frozen=True, slots=True)
class SamplePath:
    """A path of a route."""

    text: str
    own: tuple[bool, ...]
    """For each character, whether the template says it; the others stand for a name."""
    has_format: bool = False
    """Whether ``text`` ends with `FORMAT`."""


def read_routes(text: str) -> tuple[Route, ...]:
    """Return the routes of a table.

    Args:
        text: GitLab's ``config/routing/gitlab_routes.json``, or lines whose first column (of those
            that tabs separate) is the template; a last column ``f`` says that it takes a format.

    Raises:
        RouteTableError: it is neither, or it has no route.
    """
    rows = _json_rows(text) if text.lstrip().startswith(("[", "{")) else _line_rows(text)
    routes = tuple(dict.fromkeys(rows))
    if not routes:
        raise RouteTableError("it has no route: a template begins with '/' or '('")
    if len(routes) > MAX_ROUTES:
        raise RouteTableError(f"it has more than {MAX_ROUTES} routes")
    return routes


def _json_rows(text: str) -> Iterator[Route]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RouteTableError(f"it is not JSON: {error}") from error
    if not isinstance(rows, list):
        raise RouteTableError("it is no list of routes")
    for number, row in enumerate(rows, 1):
        template = row.get("template") if isinstance(row, dict) else None
        if not isinstance(template, str):
            raise RouteTableError(f"route {number} has no template")
        yield _route(template, row.get("acceptsFormat") is True, number)


def _line_rows(text: str) -> Iterator[Route]:
    for number, line in enumerate(text.splitlines(), 1):
        columns = line.split("\t")
        if columns[0].startswith(("/", "(")):
            yield _route(columns[0], len(columns) > 1 and columns[-1] == "f", number)


def _route(template: str, takes_format: Any, number: int) -> Route:
    if template.count("(") > MAX_OPTIONAL_PARTS:
        raise RouteTableError(f"route {number} has more than {MAX_OPTIONAL_PARTS} optional parts")
    return Route(template, takes_format)


def sample_paths(route: Route, fills: Iterable[str]) -> Iterator[SamplePath]:
    """Return paths of a route, with and without its optional parts and its format.

    Args:
        fills: What a ``*name`` is filled with, one after the other.
    """
    for template in dict.fromkeys(_without_parentheses(route.template)):
        # Grape writes a slash that may be missing as "/?".
        pieces = list(_TOKEN.finditer(template.replace("/?", "/")))
        many = any(piece.lastgroup == "many" for piece in pieces)
        for fill in fills if many else [NAME]:
            path = _path(pieces, fill)
            yield path
            if route.takes_format:
                own = path.own + (True,) * len(FORMAT)
                yield SamplePath(path.text + FORMAT, own, has_format=True)


def _without_parentheses(template: str) -> Iterator[str]:
    group = _GROUP.search(template)
    if group is None:
        yield template
        return
    before, after = template[: group.start()], template[group.end() :]
    yield from _without_parentheses(before + group["inner"] + after)
    yield from _without_parentheses(before + after)


def _path(pieces: Iterable[re.Match[str]], fill: str) -> SamplePath:
    text: list[str] = []
    own: list[bool] = []
    for piece in pieces:
        kind = piece.lastgroup
        part = {"one": NAME, "many": fill}.get(kind or "") or piece["escaped"] or piece[0]
        text.append(part)
        own += [kind in {"text", "escaped"}] * len(part)
    return SamplePath("".join(text), tuple(own))
