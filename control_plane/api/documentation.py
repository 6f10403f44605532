"""Serves ``/docs`` and ``/openapi.json``: the API's description, for people and for programs.

The problem: FastAPI's own page loads its scripts from another host. Without a network it stays
empty; with one, that host's scripts run with the rights of whoever opens the page, and without a
configured token these are an admin's.

The idea: Swagger UI is a part of this package (``docs_page``, ADR 0064), and the page may load
nothing from elsewhere and run no script but these files. A browser sends no token when somebody
opens a page, so page and description are open to everybody who reaches the API. They say nothing
that the source does not say. What the page sends to operations carries the token that its user
enters under "Authorize".
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from control_plane.api.long_work import LongWork
from control_plane.api.rendering import rendered

_FOLDER = Path(__file__).parent / "docs_page"
_PAGE = "index.html"
_FILES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "start.js": "text/javascript",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
}


class Documentation:
    """The page, its files, and the description of an app."""

    def __init__(self, app: FastAPI, work: LongWork) -> None:
        """Describe an app.

        Args:
            app: The app with all of its operations.
            work: Where the description is worked out, which takes a second.
        """
        self._app = app
        self._work = work
        self._description: bytes | None = None

    async def page(self, _: Request) -> Response:
        """Return the page."""
        return _file(_PAGE, "text/html")

    async def file(self, request: Request) -> Response:
        """Return a file of the page."""
        name = request.path_params["name"]
        if name not in _FILES:
            raise HTTPException(404)
        return _file(name, _FILES[name])

    async def description(self, _: Request) -> Response:
        """Return the description."""
        if self._description is None:
            answer = await self._work.run("", lambda: rendered(self._app.openapi()))
            self._description = bytes(answer.body)
        tag = hashlib.sha256(self._description).hexdigest()[:16]
        headers = {"etag": f'"{tag}"', "cache-control": "no-cache"}
        return Response(self._description, 200, headers, "application/json")


def _file(name: str, media_type: str) -> Response:
    return FileResponse(_FOLDER / name, 200, _HEADERS, media_type)


def install(app: FastAPI, work: LongWork) -> None:
    """Have an app serve its description."""
    documentation = Documentation(app, work)
    app.router.add_route("/openapi.json", documentation.description, include_in_schema=False)
    app.router.add_route("/docs", documentation.page, include_in_schema=False)
    app.router.add_route("/docs/{name}", documentation.file, include_in_schema=False)
