"""Refuses query parameters that an operation does not have: ``?dryrun=true`` must not write.

And NUL in a path or a query: nothing has it in its name, and PostgreSQL can't even be asked for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant

from control_plane.api.problem import ProblemError


async def strict_query(request: Request) -> None:
    """Dependency of every operation; raises `ProblemError` (422)."""
    if "\x00" in request.scope["path"]:
        raise ProblemError(422, "the path has a NUL in it; leave it out", code="invalid")
    known = frozenset(_names(request.scope["route"].dependant))
    for name, values in (
        (name, request.query_params.getlist(name)) for name in request.query_params
    ):
        if name not in known:
            detail = f"there is no query parameter {name[:100]!r} here"
            mend = f"known: {', '.join(sorted(known))}" if known else "leave it out"
            errors = [{"field": f"query.{name[:100]}", "message": detail, "mend": mend}]
            raise ProblemError(422, detail, code="invalid", errors=errors)
        if any("\x00" in value for value in values):
            raise ProblemError(422, f"{name} has a NUL in it; leave it out", code="invalid")
        if len(values) > 1:
            detail = f"query parameter {name!r} is given {len(values)} times"
            errors = [{"field": f"query.{name}", "message": detail, "mend": "give it once"}]
            raise ProblemError(422, detail, code="invalid", errors=errors)


def _names(dependant: Dependant) -> Iterator[str]:
    for parameter in dependant.query_params:
        yield parameter.alias
    for inner in dependant.dependencies:
        yield from _names(inner)
