"""Reads access logs of Envoy in JSON, whose fields every operator names otherwise.

The names that the usual formats give the three things that a request must have are known (Istio,
Envoy Gateway, Contour, and ``%REQ(…)%`` by hand). Each other field that is called like a header
that a rule looks at is taken for that header: ``x_tenant`` and ``X-Tenant`` both are ``x-tenant``.
Headers may also stand in an object of their own, in the field ``headers`` or ``request_headers``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from control_plane.simulation.logs.aspects import Aspects
from control_plane.simulation.logs.recorded import ABSENT, Recorded, Unreadable

METHODS = ("method", ":method", "request_method", "req_method", "http_method", "verb")
PATHS = (
    *("x-envoy-original-path", "x_envoy_original_path", "x-envoy-origin-path", "original_path"),
    *("path", ":path", "request_path", "req_path", "request_uri", "uri", "url"),
)
"""The path as the client sent it comes first: Envoy may have rewritten the other."""
AUTHORITIES = (
    *("authority", ":authority", "request_authority", "req_authority", "host", "http_host"),
    "vhost",
)
NESTED = ("headers", "request_headers", "req_headers")
MAX_PLANS = 256
"""So many sets of fields are remembered; a log usually has one."""


class _Plan(NamedTuple):
    """Where to look in objects that have the same fields."""

    methods: tuple[str, ...]
    paths: tuple[str, ...]
    authorities: tuple[str, ...]
    headers: tuple[tuple[str, str], ...]
    """Fields with the lower-case names of the headers that they hold."""
    nested: tuple[str, ...]


class EnvoyJson:
    """Reads lines of one log."""

    def __init__(self, aspects: Aspects, host: str) -> None:
        """With ``host``, which stands for the host where a line has none."""
        self._aspects = aspects
        self._host = host
        self._plans: dict[tuple[str, ...], _Plan] = {}

    def read(self, line: bytes) -> Recorded:
        """Return the request of a line; raise `Unreadable` if there is none."""
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"it is not JSON: {error}") from error
        if not isinstance(fields, dict):
            raise Unreadable("it is no JSON object")
        inner = fields.get("request")
        if isinstance(inner, dict):
            fields = inner
        names = tuple(fields)
        plan = self._plans.get(names)
        if plan is None:
            plan = self._plan(names)
        method = _first(fields, plan.methods) or _missing("method", METHODS)
        target = _first(fields, plan.paths) or _missing("path", PATHS)
        authority = _first(fields, plan.authorities) or self._host
        headers = tuple(self._headers(fields, plan)) if plan.headers or plan.nested else ()
        return Recorded(
            method,
            self._aspects.target(target).encode("utf-8", "replace"),
            authority.encode("utf-8", "replace"),
            headers,
        )

    def _plan(self, names: tuple[str, ...]) -> _Plan:
        if len(self._plans) >= MAX_PLANS:
            self._plans.clear()
        there = frozenset(names)
        taken = {*METHODS, *PATHS, *AUTHORITIES, *NESTED}
        headers = [
            (name, header)
            for name in names
            if name not in taken
            and self._aspects.sees_header(header := name.lower().replace("_", "-"))
        ]
        plan = _Plan(
            tuple(name for name in METHODS if name in there),
            tuple(name for name in PATHS if name in there),
            tuple(name for name in AUTHORITIES if name in there),
            tuple(headers),
            tuple(name for name in NESTED if name in there),
        )
        self._plans[names] = plan
        return plan

    def _headers(self, fields: Mapping[str, Any], plan: _Plan) -> Iterator[tuple[str, bytes]]:
        for name, header in plan.headers:
            yield from self._header(header, fields[name])
        for nested in plan.nested:
            held = fields[nested]
            for name, value in held.items() if isinstance(held, dict) else ():
                yield from self._header(name.lower(), value)

    def _header(self, name: str, value: Any) -> Iterator[tuple[str, bytes]]:
        if isinstance(value, str) and value not in ABSENT:
            header = self._aspects.header(name, value)
            if header is not None:
                yield header


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        value = fields[name]
        if isinstance(value, str) and value not in ABSENT:
            return value
    return None


def _missing(what: str, names: tuple[str, ...]) -> str:
    raise Unreadable(f"it has no {what}: none of the fields {', '.join(names)} says it")
