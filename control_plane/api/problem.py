"""Errors as ``application/problem+json`` (RFC 9457), with a hint at what to do about them.

The hint is the member ``mend`` of an error.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from control_plane.api.allowed_methods import allowed_methods
from control_plane.routing.rules.lint import Finding
from control_plane.routing.rules.problems import RulesetError
from control_plane.topology.values.errors import (
    AlreadyExists,
    Contention,
    DatabaseDamaged,
    DatabaseDenied,
    DatabaseFailed,
    DatabaseFull,
    DatabaseSlow,
    DatabaseTrouble,
    Gone,
    Invalid,
    LeaseSettled,
    Locked,
    NotFound,
    ReadOnly,
    Refused,
    StaleVersion,
    TopologyError,
    Unavailable,
)

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 100
_HINTS = {
    "extra_forbidden": "leave it out, or mend its spelling",
    "missing": "give it",
}

_TROUBLES: Mapping[type[TopologyError], tuple[str, str]] = MappingProxyType(
    {
        Contention: ("contention", "1"),
        ReadOnly: ("database-read-only", "2"),
        Unavailable: ("unavailable", "1"),
        DatabaseFull: ("database-full", "30"),
        DatabaseSlow: ("database-slow", "5"),
        DatabaseDenied: ("database-denied", "30"),
        DatabaseDamaged: ("database-damaged", "30"),
        DatabaseTrouble: ("database-trouble", "30"),
    }
)
"""The code and the ``Retry-After`` (in seconds) of what is no fault of the request or of ours.

The first class that an error belongs to counts.
"""


class ProblemError(Exception):
    """An error that is answered with a problem document."""

    def __init__(self, status: int, detail: str, **members: Any) -> None:
        """Make an error with an HTTP status, a text, and further members of the document."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.members = members


def problem(status: int, detail: str, **members: Any) -> JSONResponse:
    """Return a problem document.

    Args:
        status: The HTTP status.
        detail: What is wrong, for people.
        members: Further members, for example ``code``, which names the kind of error for programs.
    """
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    # After a fault of ours the server closes the connection: nobody can know what else is wrong.
    headers = {"connection": "close"} if status == 500 else None
    return JSONResponse({**body, "detail": detail, **members}, status, headers, MEDIA_TYPE)


def findings_problem(findings: list[Finding]) -> ProblemError:
    """Return the error for a ruleset that can't work, with each of its faults."""
    errors = [
        {"rule": f.rule, "field": f.field, "message": f.message, "mend": f.hint}
        for f in findings
        if f.severity == "error"
    ]
    return ProblemError(422, "the ruleset can't work", code="invalid-ruleset", errors=errors)


def topology_problem(error: TopologyError, *, forceable: bool = False) -> JSONResponse:
    """Return the problem document for an error of the topology.

    Args:
        error: The error.
        forceable: Whether ``?force=true`` would override a refusal; the document then says so.
    """
    text = str(error)
    hint = {"mend": "repeat with ?force=true and a reason if you are sure"} if forceable else {}
    if isinstance(error, Invalid):
        errors = [{"field": p.field, "message": p.message, "mend": p.hint} for p in error.problems]
        return problem(422, text, code="invalid", errors=errors)
    if isinstance(error, NotFound):
        return problem(404, text, code="not-found")
    if isinstance(error, AlreadyExists):
        taken = [{"key": key, "owner": owner} for key, owner in error.taken]
        return problem(409, text, code="already-exists", taken=taken)
    if isinstance(error, StaleVersion):
        return problem(412, text, code="stale-version", actual=error.actual)
    if isinstance(error, Refused):
        return problem(409, text, code="refused", **hint)
    if isinstance(error, Gone):
        return problem(410, text, code="gone", oldest=error.oldest)
    if isinstance(error, Locked):
        held = [{"key": key, "lease": lease} for key, lease in error.held]
        return problem(409, text, code="locked", held=held[:MAX_ERRORS])
    if isinstance(error, LeaseSettled):
        return problem(409, text, code="settled", lease=error.lease, outcome=error.outcome)
    return _trouble(error) or _fault(error)


def _trouble(error: TopologyError) -> JSONResponse | None:
    """Return a 503 for what may pass by itself or by the operator's help; else None."""
    for kind, (code, retry_after) in _TROUBLES.items():
        if isinstance(error, kind):
            answer = problem(503, str(error), code=code)
            answer.headers["retry-after"] = retry_after
            return answer
    return None


def _fault(error: TopologyError) -> JSONResponse:
    """Return a 500: the caller can't help it."""
    if not isinstance(error, DatabaseFailed):
        return problem(500, str(error), code="topology")
    log.error("a request failed", exc_info=error)
    return problem(500, str(error), code="internal")


def _malformed(errors: Sequence[Any]) -> JSONResponse:
    """Return a 400 for a body that is no JSON, or a 422 that names each wrong field."""
    for one in errors:
        if one["type"] == "json_invalid":
            reason, at = one.get("ctx", {}).get("error", one["msg"]), one["loc"][-1]
            detail = f"the body is no JSON: {reason} at character {at}"
            return problem(400, detail, code="malformed-json")
    shown = [
        {
            "field": ".".join(str(part) for part in one["loc"]),
            "message": one["msg"],
            "mend": _HINTS.get(one["type"], "see /docs"),
        }
        for one in errors[:MAX_ERRORS]
    ]
    fields = ", ".join(one["field"] for one in shown[:5])
    return problem(422, f"the request is malformed: {fields}", code="invalid", errors=shown)


async def _on_topology_error(request: Request, error: TopologyError) -> JSONResponse:
    # Only the guards of a cell's life can be overridden.
    forceable = request.method in {"PUT", "PATCH"} and "/rulesets/" not in request.url.path
    return topology_problem(error, forceable=forceable)


async def _on_ruleset_error(_: Request, error: RulesetError) -> JSONResponse:
    errors = [
        {"rule": p.rule, "field": p.field, "message": p.message, "mend": p.hint}
        for p in error.problems
    ]
    return problem(422, "the ruleset can't work", code="invalid-ruleset", errors=errors)


async def _on_problem(_: Request, error: ProblemError) -> JSONResponse:
    answer = problem(error.status, error.detail, **error.members)
    if error.status in {429, 503}:
        answer.headers["retry-after"] = "1"
    return answer


async def _on_validation_error(_: Request, error: RequestValidationError) -> JSONResponse:
    return _malformed(error.errors())


async def _on_bug(_: Request, error: Exception) -> JSONResponse:
    # Starlette logs it with its traceback after this answer.
    return problem(500, f"a bug of ours: {type(error).__name__}", code="internal")


async def _on_http_error(request: Request, error: HTTPException) -> JSONResponse:
    """Say more than the framework does of a path, a method or a body that it refuses."""
    path, method = request.url.path[:100], request.method[:20]
    if error.status_code == 405:
        methods = allowed_methods(request.app.router.routes, request.scope)
        detail = f"{path!r} does not take {method}: send {' or '.join(methods)}"
        answer = problem(405, detail, code="method-not-allowed")
        answer.headers["allow"] = ", ".join(methods)
        return answer
    if error.status_code == 404:
        detail = f"there is nothing at {path!r}; /docs and /openapi.json list what there is"
        return problem(404, detail, code="not-found")
    if error.status_code == 400:
        reason = f": {error.__cause__}" if error.__cause__ else ""
        detail = f"the body can't be read as JSON in UTF-8{reason}"
        return problem(400, detail, code="malformed-json")
    answer = problem(error.status_code, str(error.detail), code="http")
    answer.headers.update(error.headers or {})
    return answer


_HANDLERS: Mapping[type[Exception], Callable[[Request, Any], Awaitable[JSONResponse]]] = (
    MappingProxyType(
        {
            TopologyError: _on_topology_error,
            RulesetError: _on_ruleset_error,
            ProblemError: _on_problem,
            RequestValidationError: _on_validation_error,
            Exception: _on_bug,
            HTTPException: _on_http_error,
        }
    )
)


def install(app: FastAPI) -> None:
    """Have an app answer every error with a problem document."""
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
