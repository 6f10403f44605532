"""Refuses query parameters that an operation does not have: ``?dryrun=true`` must not write.

It refuses NUL in paths and queries too: no name holds one, and PostgreSQL rejects it in a query.
"""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant

from control_plane.api.problem import ProblemError


async def strict_query(request: Request) -> None:
    """Check the path and the query. Every operation depends on this.

    Raises:
        ProblemError: (422) A parameter is unknown or repeated, or something holds a NUL.
    """
    if "\x00" in request.scope["path"]:
        raise ProblemError(422, "the path has a NUL in it; leave it out", code="invalid")
    names = frozenset(_parameters(request.scope["route"].dependant))
    for name in request.query_params:
        values = request.query_params.getlist(name)
        if name not in names:
            detail = f"there is no query parameter {name[:100]!r} here"
            hint = f"known: {', '.join(sorted(names))}" if names else "leave it out"
            raise _invalid(name, detail, hint)
        if any("\x00" in value for value in values):
            raise ProblemError(422, f"{name} has a NUL in it; leave it out", code="invalid")
        if len(values) > 1:
            detail = f"query parameter {name!r} is given {len(values)} times"
            raise _invalid(name, detail, "give it once")


def _invalid(name: str, detail: str, hint: str) -> ProblemError:
    errors = [{"field": f"query.{name[:100]}", "message": detail, "mend": hint}]
    return ProblemError(422, detail, code="invalid", errors=errors)


def _parameters(dependant: Dependant) -> Iterator[str]:
    for parameter in dependant.query_params:
        yield parameter.alias
    for inner in dependant.dependencies:
        yield from _parameters(inner)
