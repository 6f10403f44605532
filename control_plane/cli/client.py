"""Calls the REST API and turns its problem documents into exit statuses."""

from __future__ import annotations

import enum
import getpass
import os
from typing import Any
from urllib.parse import quote

import httpx

TIMEOUT_S = 330.0
"""Longer than the longest ?wait=fleet."""


class Exit(enum.IntEnum):
    """Exit statuses, as documented."""

    OK = 0
    ERROR = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    DENIED = 5
    REFUSED = 6
    TIMED_OUT = 7


DIFFERENT = 2
"""Exit status of a command that compares and finds differences (not an error, so no `Exit`)."""


_BY_STATUS = {
    401: Exit.DENIED,
    403: Exit.DENIED,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    412: Exit.CONFLICT,
    428: Exit.CONFLICT,
    504: Exit.TIMED_OUT,
}


class Failure(Exception):
    """A command failed: what to say on stderr, and the exit status."""

    def __init__(self, message: str, status: Exit = Exit.ERROR) -> None:
        super().__init__(message)
        self.status = status


def resource(*segments: str) -> str:
    """The path of a resource below ``/v1``, whatever characters its names have.

    Raises `Failure` for what can't be a segment of a URL's path (RFC 3986 section 5.2.4).
    """
    for segment in segments:
        if segment in {"", ".", ".."}:
            raise Failure(f"{segment!r} can't be a name", Exit.USAGE)
    return "/v1/" + "/".join(quote(segment, safe="") for segment in segments)


class Client:
    """A thin client of one server."""

    def __init__(self, server: str, token: str | None) -> None:
        self.actor = _actor()
        """Who this is, for the audit."""
        headers = {"x-actor": self.actor}
        if token:
            headers["authorization"] = f"Bearer {token}"
        self._http = httpx.Client(base_url=server, headers=headers, timeout=TIMEOUT_S)
        self._server = server

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content: bytes | None = None,
        params: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """One call; raises `Failure` with the problem's own words."""
        given = {key: value for key, value in (params or {}).items() if value is not None}
        try:
            response = self._http.request(
                method, path, json=body, content=content, params=given, headers=headers
            )
        except httpx.HTTPError as error:
            text = f"can't reach {self._server}: {error}; is `cellway serve` running there?"
            raise Failure(text) from error
        if response.status_code >= 400:
            raise _failure(response)
        return response

    def get(self, path: str, **params: Any) -> Any:
        """The JSON document at a path."""
        return self.call("GET", path, params=params).json()

    def items(self, path: str, limit: int, **params: Any) -> tuple[list[dict[str, Any]], bool]:
        """Up to ``limit`` items of a list, page after page; True if more follow."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while len(found) < limit:
            page = self.get(path, limit=min(1000, limit - len(found)), cursor=cursor, **params)
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                return found, False
        return found, True


def _actor() -> str:
    try:
        return f"{getpass.getuser()}/cli"
    except (OSError, KeyError):
        return f"uid {os.getuid()}/cli"


def _failure(response: httpx.Response) -> Failure:
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    lines = [str(problem.get("detail") or f"HTTP {response.status_code}: {response.text[:200]}")]
    for error in problem.get("errors", []):
        where = ", ".join(str(error[key]) for key in ("rule", "field") if error.get(key))
        mend = f" ({error['mend']})" if error.get("mend") else ""
        lines.append(f"  {where}: {error['message']}{mend}")
    lines += [f"  {taken['key']} belongs to {taken['owner']}" for taken in problem.get("taken", [])]
    lines += [f"  {held['key']} is in lease {held['lease']}" for held in problem.get("held", [])]
    lines += [f"  not there yet: {node}" for node in problem.get("nodes", [])]
    if problem.get("mend"):
        lines.append(f"  {problem['mend']}")
    status = _BY_STATUS.get(response.status_code, Exit.ERROR)
    if problem.get("code") == "refused":
        status = Exit.REFUSED
    return Failure("\n".join(lines), status)
