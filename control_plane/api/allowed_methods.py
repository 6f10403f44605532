"""Tells which methods a path takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.routing import BaseRoute, Match

_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


def allowed_methods(routes: Sequence[BaseRoute], scope: Mapping[str, Any]) -> list[str]:
    """Return the methods that may be sent to a request's path, sorted; none if nothing is there.

    The routes themselves are asked: several may take one path, each with a method of its own.
    """
    path = {name: scope[name] for name in ("type", "path", "root_path", "headers")}
    taken = {
        method
        for method in _METHODS
        if any(route.matches({**path, "method": method})[0] is Match.FULL for route in routes)
    }
    if not taken:
        return []
    return sorted(taken | {"OPTIONS"} | ({"HEAD"} if "GET" in taken else set()))
