"""Asks the REST API of a cellway server for what a decision needs.

Whatever is wrong with the server becomes one line that says what, where and how to mend it.
"""

from __future__ import annotations

import os
import ssl
import time
import urllib.parse
from typing import Any

import httpx
from mitmproxy import ctx

from addons.remote import Edge, remote_cell
from control_plane.routing.model import Cells, ClaimKey
from control_plane.routing.rules.parse import parse

DEFAULT_SERVER = "http://127.0.0.1:8000"
_MEND = {
    401: "it wants a token, or another one: set cellway_token, or CELLWAY_TOKEN in the environment",
    403: "the token may not read cells, claims and rulesets: take one with the role viewer",
    421: "it is not served under this host name: see api_hosts in docs/operating.md",
}


class CannotDecide(Exception):
    """The server's answers lack something that a decision needs."""


class CellwayApi:
    """A client of one server. Each request reads the options anew, as they may change."""

    def __init__(self) -> None:
        self._http: httpx.AsyncClient | None = None
        self._ca: str | None = None

    @property
    def server(self) -> str:
        """The URL of the API, without a slash at its end."""
        given: str | None = ctx.options.cellway_server
        return (given or os.environ.get("CELLWAY_SERVER") or DEFAULT_SERVER).rstrip("/")

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def edge(self) -> Edge:
        """Return cells and active ruleset as they are now.

        Raises:
            CannotDecide: the server does not tell them.
        """
        active = await self._read("/v1/rulesets/active")
        if active.get("active") is False:
            raise CannotDecide(f"no ruleset is active at {self.server}: see `cellway rules apply`")
        listed = await self._read("/v1/cells")
        try:
            remote = [remote_cell(item) for item in listed["items"]]
            ruleset = parse(active["document"])
            version = f"{active['name']} version {active['version']}"
        except (KeyError, TypeError, ValueError) as error:
            raise self._is_other(f"unexpected {type(error).__name__}: {error}") from error
        by_name = {cell.name: cell for cell in remote}
        return Edge(Cells(remote), by_name, ruleset, version, time.monotonic())

    async def owner(self, key: ClaimKey) -> int | None:
        """Return the id of the cell that owns a claim; None if none does.

        Raises:
            CannotDecide: the server does not tell it.
        """
        bucket, value = key
        # Dots are quoted too: a value may be "..", which a URL's path takes as a step up.
        segment = urllib.parse.quote(value, safe="").replace(".", "%2E")
        response = await self._get(f"/v1/claims/{bucket}/{segment}")
        # The API answers 422 to a value that can't be claimed: no cell owns it.
        if response.status_code in {404, 422}:
            self._document(response)
            return None
        try:
            return int(self._document(self._accepted(response))["cell_id"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._is_other("a claim without cell_id") from error

    async def _read(self, path: str) -> dict[str, Any]:
        return self._document(self._accepted(await self._get(path)))

    async def _get(self, path: str) -> httpx.Response:
        options = ctx.options
        token = options.cellway_token or os.environ.get("CELLWAY_TOKEN")
        try:
            return await self._client().get(
                self.server + path,
                headers={"authorization": f"Bearer {token}"} if token else {},
                timeout=options.cellway_timeout_ms / 1000,
            )
        except httpx.TimeoutException as error:
            text = f"{self.server} did not answer in {options.cellway_timeout_ms} ms"
            raise CannotDecide(f"{text} (cellway_timeout_ms)") from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise CannotDecide(f"can't reach {self.server}: {_why(error)}") from error

    def _client(self) -> httpx.AsyncClient:
        ca = ctx.options.cellway_server_ca or os.environ.get("CELLWAY_SERVER_CA")
        if self._http is None or ca != self._ca:
            try:
                self._http = httpx.AsyncClient(trust_env=False, verify=_context(self.server, ca))
            except OSError as error:
                text = f"the authorities in {ca} can't be used: {error} (cellway_server_ca)"
                raise CannotDecide(text) from error
            self._ca = ca
        return self._http

    def _accepted(self, response: httpx.Response) -> httpx.Response:
        status = response.status_code
        if status == httpx.codes.OK:
            return response
        if status in _MEND:
            raise CannotDecide(f"{self.server} answers {status}: {_MEND[status]}")
        detail = self._document(response).get("detail")
        raise CannotDecide(f"{self.server} answers {status}: {detail}")

    def _document(self, response: httpx.Response) -> dict[str, Any]:
        """Return the JSON object of an answer, which every answer of the API is."""
        kind = response.headers.get("content-type", "no content type")
        try:
            document = response.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise self._is_other(f"{response.status_code}, {kind}")
        return document

    def _is_other(self, found: str) -> CannotDecide:
        text = f"{self.server} does not answer as cellway does ({found})"
        return CannotDecide(f"{text}: set cellway_server to the address of a cellway API")


def _context(server: str, ca: str | None) -> ssl.SSLContext | bool:
    """Return what to verify the server's certificate with; plain HTTP needs none."""
    if not server.startswith("https:"):
        return False
    context = ssl.create_default_context(cafile=ca)
    if ca is not None:
        # Authorities that people make by hand often leave key identifiers out.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _why(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"{text} (set cellway_server_ca to the PEM file of who signs its certificate)"
    if isinstance(error, httpx.ConnectError):
        return f"{text}; is `cellway up` or `cellway serve` running there?"
    return text
