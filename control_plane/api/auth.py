"""Who may call which operation: each names the scope that it needs, and /docs shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from control_plane.api.problem import ProblemError
from control_plane.topology import Scope

ROLE_KEY = "x-cellway-scope"
"""The member of an operation's OpenAPI description that names the scope."""
CALLER = "cellway.caller"
"""The key of the ASGI scope under which the middleware leaves the caller."""
_PROBES = frozenset({"/healthz", "/readyz"})
OPEN_PATHS = _PROBES | {"/docs", "/openapi.json"}
"""Paths that need no token for GET and HEAD, beside the files of the page ``/docs``."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request."""

    id: str
    """The id of the caller's token; empty if the caller is an admin by configuration."""
    name: str
    """The caller's name in the audit."""
    scope: Scope


def is_probe(scope: Mapping[str, Any]) -> bool:
    """Return whether a request is a probe, which sends no token."""
    return scope["path"] in _PROBES and scope["method"] in {"GET", "HEAD"}


def is_open(scope: Mapping[str, Any]) -> bool:
    """Return whether nobody needs to say who they are: for probes and for the API's description.

    Other methods than GET and HEAD need a token on these paths too.
    """
    path: str = scope["path"]
    is_read = scope["method"] in {"GET", "HEAD"}
    return is_read and (path in OPEN_PATHS or path.startswith("/docs/"))


def needs(scope: Scope) -> dict[str, Any]:
    """Return the ``openapi_extra`` of an operation that needs a scope."""
    return {ROLE_KEY: str(scope)}


VIEWER = needs(Scope.VIEWER)
OPERATOR = needs(Scope.OPERATOR)
ADMIN = needs(Scope.ADMIN)
PROBE: dict[str, Any] = {"security": []}
"""The ``openapi_extra`` of an operation that needs no token."""


async def check_scope(request: Request) -> None:
    """Check that the caller has the operation's scope. Every operation depends on this.

    An operation that names no scope is for admins, so that one which was forgotten is not open.

    Raises:
        ProblemError: (403) The caller's scope does not suffice.
    """
    if is_open(request.scope):
        return
    extra = request.scope["route"].openapi_extra or {}
    needed = Scope(extra.get(ROLE_KEY, Scope.ADMIN))
    caller: Caller = request.scope[CALLER]
    if not caller.scope.includes(needed):
        detail = f"this needs the scope {needed}; {caller.name} has {caller.scope}"
        raise ProblemError(403, detail, code="forbidden", needed=str(needed))


def actor_of(request: Request, sent_name: str | None) -> str:
    """Return the actor that the audit shows for a write, for example ``ci (ann)@10.0.0.7``.

    First comes the name of the caller, by the caller's credentials. In parentheses is the name that
    the client has sent itself in X-Actor. Last is the address of the connection's other end.
    """
    caller: Caller = request.scope[CALLER]
    client = request.client.host if request.client else "?"
    said = f" ({sent_name})" if sent_name else ""
    return f"{caller.name}{said}@{client}"
