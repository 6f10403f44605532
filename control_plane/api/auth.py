"""Who may do what: each operation says the scope that it needs, and its description shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Request

from control_plane.api.problem import ProblemError
from control_plane.topology import Scope

ROLE_KEY = "x-cellway-scope"
"""The member of an operation in the OpenAPI description that names the scope."""
CALLER = "cellway.caller"
"""Where the ASGI scope has the caller."""
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Probes send no token."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``id`` is empty for whoever may do everything by configuration."""

    id: str
    name: str
    scope: Scope


def needs(scope: Scope) -> dict[str, Any]:
    """``openapi_extra`` of an operation."""
    return {ROLE_KEY: str(scope)}


VIEWER = needs(Scope.VIEWER)
OPERATOR = needs(Scope.OPERATOR)
ADMIN = needs(Scope.ADMIN)


async def check_scope(request: Request) -> None:
    """Dependency of every operation; raises `ProblemError` (403).

    An operation that says nothing is for admins: what is forgotten is closed.
    """
    if request.url.path in OPEN_PATHS:
        return
    extra = request.scope["route"].openapi_extra or {}
    needed = Scope(extra.get(ROLE_KEY, Scope.ADMIN))
    caller: Caller = request.scope[CALLER]
    if not caller.scope.includes(needed):
        detail = f"this needs the scope {needed}; {caller.name} has {caller.scope}"
        raise ProblemError(403, detail, code="forbidden", needed=str(needed))


def actor_of(request: Request, claimed: str | None) -> str:
    """Who a write is put down to: the token's name first, then who they say they are."""
    caller: Caller = request.scope[CALLER]
    client = request.client.host if request.client else "?"
    if not caller.id:
        return f"{claimed or 'api'}@{client}"
    return f"{caller.name} ({claimed})@{client}" if claimed else f"{caller.name}@{client}"
