"""Calls the REST API and turns its problem documents into exit statuses."""

from __future__ import annotations

import enum
import getpass
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from control_plane.names import MAX_PAGE

TIMEOUT_S = 330.0
"""How long an answer may take. The API waits for the fleet (``?wait=fleet``) for at most 300 s."""


class Exit(enum.IntEnum):
    """Exit statuses. Scripts depend on them, so that they never change."""

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


_REFUSALS = frozenset({"refused", "fleet-refused", "not-published"})
"""Codes of problems that end with `Exit.REFUSED`, whatever their HTTP status is."""


class Failure(Exception):
    """A command failed. The message goes to stderr, and the status is the command's exit status."""

    def __init__(self, message: str, status: Exit = Exit.ERROR) -> None:
        super().__init__(message)
        self.status = status


def resource(*segments: str) -> str:
    """Return the path of a resource below ``/v1``, whatever characters its names have.

    Raises:
        Failure: a name can't be a segment of a URL's path (RFC 3986 section 5.2.4).
    """
    for segment in segments:
        if segment in {"", ".", ".."}:
            text = f"{segment!r} can't be a name; write one that is not empty, . or .."
            raise Failure(text, Exit.USAGE)
    return "/v1/" + "/".join(quote(segment, safe="") for segment in segments)


@dataclass(frozen=True)
class ClientTls:
    """PEM files for a server that is reached by https."""

    ca: Path | None = None
    """The authorities that may sign the server's certificate; None: those of this machine."""
    certificate: Path | None = None
    """The client's certificate and its key, in one file."""

    def context(self) -> ssl.SSLContext:
        """Return the context to connect with; raise `Failure` if a file can't be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            raise Failure(f"the authorities in {self.ca} can't be used: {error}") from error
        if self.ca is not None:
            # Authorities that people make by hand often leave key identifiers out.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate)
            except OSError as error:
                raise Failure(f"certificate and key in {self.certificate}: {error}") from error
        return context


class Client:
    """A client of one server's REST API."""

    def __init__(self, server: str, token: str | None, tls: ClientTls | None = None) -> None:
        self.actor = _actor()
        """Who calls, as the audit shows it, for example ``alice/cli``."""
        headers = {"x-actor": self.actor}
        if token is not None:
            headers["authorization"] = f"Bearer {_checked(token)}"
        # To read this machine's authorities takes 30 ms, which nobody needs for plain HTTP.
        verify = (tls or ClientTls()).context() if server.lower().startswith("https:") else False
        self._http = httpx.Client(
            base_url=server, headers=headers, timeout=TIMEOUT_S, verify=verify
        )
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
        """Call the API.

        Args:
            body: is sent as JSON; ``content`` is sent as it is.
            params: query parameters; those that are None are left out.

        Raises:
            Failure: the server can't be reached, or answers with a problem, which the message
                repeats.
        """
        sent = {key: value for key, value in (params or {}).items() if value is not None}
        try:
            response = self._http.request(
                method, path, json=body, content=content, params=sent, headers=headers
            )
        except httpx.HTTPError as error:
            text = f"can't reach {self._server}: {error}; is `cellway serve` running there?"
            raise Failure(text) from error
        if response.status_code >= 400:
            raise _failure(response)
        return response

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """Return the JSON document at a path."""
        return self.call("GET", path, params=params).json()

    def items(self, path: str, limit: int, **params: Any) -> tuple[list[dict[str, Any]], bool]:
        """Return up to ``limit`` items of a list, page after page, and whether more follow."""
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while len(items) < limit:
            page = self.get(path, limit=min(MAX_PAGE, limit - len(items)), cursor=cursor, **params)
            items += page["items"]
            cursor = page["next"]
            if cursor is None:
                return items, False
        return items, True


def _checked(token: str) -> str:
    """Return a token that can be sent.

    Raises:
        Failure: it is empty, as an unset variable of a script is, or has other characters.
    """
    if not token.strip():
        text = "the token is empty: set CELLWAY_TOKEN (or --token), or leave it out altogether"
        raise Failure(text, Exit.USAGE)
    if not all("!" <= one <= "~" for one in token):
        text = "the token has a space or another character that no token has; copy it again"
        raise Failure(text, Exit.USAGE)
    return token


def _actor() -> str:
    """Return who runs the command, for example ``alice/cli``, in characters that X-Actor takes."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}/cli"
    shown = "".join(one if one.isprintable() and one not in "()" else "_" for one in user[:64])
    return f"{shown.encode('ascii', 'backslashreplace').decode()[:64]}/cli"


def _failure(response: httpx.Response) -> Failure:
    """Return a problem (RFC 9457) as a failure, one line for each thing that is wrong."""
    problem = _problem(response)
    lines = [str(problem.get("detail") or f"HTTP {response.status_code}: {response.text[:200]}")]
    for error in problem.get("errors", []):
        where = ", ".join(str(error[key]) for key in ("rule", "field") if error.get(key))
        hint = f" ({error['mend']})" if error.get("mend") else ""
        lines.append(f"  {where}: {error['message']}{hint}")
    lines += [f"  {one['key']} belongs to {one['owner']}" for one in problem.get("taken", [])]
    lines += [f"  {one['key']} is in lease {one['lease']}" for one in problem.get("held", [])]
    words = {one["node"] for one in problem.get("refused", [])}
    late = [node for node in problem.get("nodes", []) if node not in words]
    lines += [f"  not there yet: {node}" for node in late]
    lines += [f"  {one['node']} refuses it: {one['error']}" for one in problem.get("refused", [])]
    if problem.get("mend"):
        lines.append(f"  {problem['mend']}")
    if problem.get("code") in _REFUSALS:
        return Failure("\n".join(lines), Exit.REFUSED)
    return Failure("\n".join(lines), _BY_STATUS.get(response.status_code, Exit.ERROR))


def _problem(response: httpx.Response) -> dict[str, Any]:
    """Return the problem document of an answer; {} where something between us has answered."""
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
