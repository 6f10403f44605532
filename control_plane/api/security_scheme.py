"""Says in the API's description how callers identify themselves."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

NAME = "bearer"
_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": (
        "An API token (cw_…), the configured token, or a JWT of the OpenID Connect issuer that the "
        "server is configured with. Without a configured token or issuer it may be left out."
    ),
}


def install(app: FastAPI) -> None:
    """Have the description of an app name the scheme, as optional for every operation."""
    describe = app.openapi

    def described() -> dict[str, Any]:
        document = describe()
        document.setdefault("components", {})["securitySchemes"] = {NAME: _SCHEME}
        document["security"] = [{}, {NAME: []}]
        return document

    app.openapi = described  # type: ignore[method-assign]  # as FastAPI's manual says
