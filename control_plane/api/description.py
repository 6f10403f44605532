"""What the API's description (OpenAPI) says of the whole API: its parts, errors and credentials.

FastAPI describes the operations. It can't name the schema of errors, because it names only schemas
of bodies in ``application/json``. Without a name, every generator makes a class of its own for the
errors of each operation, or drops them.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema

from control_plane.api.schemas.answers import Problem
from control_plane.api.schemas.classify import ClassifyBody

BEARER = "bearer"
_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": (
        "An API token (cw_…), the configured token, or a JWT of the OpenID Connect issuer that the "
        "server is configured with. Without a configured token or issuer it may be left out."
    ),
}
ABOUT: dict[str, Any] = {
    "title": "cellway",
    "version": "1",
    "description": (
        "Reads and writes the topology of cells. Each operation names the scope that it needs as "
        "`x-cellway-scope`. GET may always be HEAD, and OPTIONS names the methods of a path. "
        "Where an answer has an ETag, `If-None-Match` saves reading it again (304)."
    ),
    "contact": {"name": "whoever runs this server"},
    "license_info": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    "servers": [{"url": "/", "description": "the server of this description"}],
    "openapi_tags": [
        {"name": "cells", "description": "The cells, and their whole life"},
        {"name": "drains", "description": "Less free traffic for a cell, in steps, and back"},
        {"name": "claims", "description": "Which cell owns a value"},
        {"name": "leases", "description": "Updates of claims that were begun and not ended"},
        {"name": "moves", "description": "Tenants that change their cell, step by step"},
        {"name": "sequences", "description": "Ranges of ids, which no two cells share"},
        {"name": "rulesets", "description": "Versions of routing rules, of which one is active"},
        {"name": "topology", "description": "All cells and rulesets as one document"},
        {"name": "explain", "description": "Routing decisions with their traces"},
        {"name": "changes", "description": "The change feed"},
        {"name": "audit", "description": "Who changed what"},
        {"name": "operations", "description": "Work that takes longer than a request"},
        {"name": "tokens", "description": "The tokens that callers of this API need"},
        {"name": "fleet", "description": "The Envoys, and the probes of this server"},
        {"name": "classify", "description": "The Topology Service's REST gateway"},
    ],
}
"""What `FastAPI` is made with."""


def operation_id(route: APIRoute) -> str:
    """Return the id of an operation, by which generators name functions."""
    return route.name


def install(app: FastAPI) -> None:
    """Have the description of an app name the errors and the credentials."""
    describe = app.openapi

    def described() -> dict[str, Any]:
        document = describe()
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(_schemas())
        components["securitySchemes"] = {BEARER: _SCHEME}
        document["security"] = [{}, {BEARER: []}]
        return document

    app.openapi = described  # type: ignore[method-assign]  # as FastAPI's manual says


def _schemas() -> dict[str, Any]:
    """Return the schemas that FastAPI does not know, by name, with those that they refer to."""
    _, document = models_json_schema(
        [(Problem, "serialization"), (ClassifyBody, "validation")],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = document["$defs"]
    # FastAPI's has no description.
    return schemas | {"JsonValue": {"description": "Any JSON."}}
