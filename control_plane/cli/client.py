"""Calls the REST API of a server; see `answers` for what it may answer."""

from __future__ import annotations

import getpass
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from control_plane.cli.answers import document_of, failure_of, not_ours
from control_plane.cli.failure import DIFFERENT, Exit, Failure
from control_plane.cli.server_address import may_use_proxy, server_url
from control_plane.names import MAX_PAGE

__all__ = ["DIFFERENT", "Client", "ClientTls", "Exit", "Failure", "resource"]
CONNECT_S = 10.0
"""How long it may take to connect."""
ANSWER_S = 60.0
"""How long an answer may take, or the next part of one."""
WAITING_ANSWER_S = 330.0
"""The same where the API waits for the fleet (``?wait=fleet``), for at most 300 s."""


def resource(*segments: str) -> str:
    """Return the path of a resource below ``/v1``, whatever characters its names have.

    Raises:
        Failure: a name can't be a segment of a URL's path (RFC 3986 section 5.2.4).
    """
    for segment in segments:
        if segment in {"", ".", ".."}:
            text = f"{segment!r} can't be a name; write one that is not empty, . or .."
            raise Failure(text, Exit.USAGE)
    try:
        return "/v1/" + "/".join(quote(segment, safe="") for segment in segments)
    except UnicodeEncodeError as error:
        raise _not_utf8(error) from error


def _not_utf8(error: UnicodeEncodeError) -> Failure:
    """Return the failure for text that no server can be sent, such as an argument in Latin-1."""
    return Failure(f"{str(error.object)[:100]!a} is not UTF-8; write it in UTF-8", Exit.USAGE)


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
        url = server_url(server)
        # To read this machine's authorities takes 30 ms, which nobody needs for plain HTTP.
        verify = (tls or ClientTls()).context() if url.scheme == "https" else False
        try:
            self._http = httpx.Client(
                base_url=url, headers=headers, verify=verify, trust_env=may_use_proxy(url)
            )
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            text = "the proxy in HTTPS_PROXY or ALL_PROXY can't be used; write http://HOST:PORT"
            raise Failure(f"{text}, or set NO_PROXY={url.host}", Exit.USAGE) from error
        self._server = str(url).rstrip("/")

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
            Failure: the server can't be reached, is none of ours, or answers with a problem, which
                the message repeats.
        """
        sent = {key: value for key, value in (params or {}).items() if value is not None}
        answer_s = WAITING_ANSWER_S if "wait" in sent else ANSWER_S
        try:
            response = self._http.request(
                method,
                path,
                json=body,
                content=content,
                params=sent,
                headers=headers,
                timeout=httpx.Timeout(answer_s, connect=CONNECT_S),
            )
        except UnicodeEncodeError as error:
            raise _not_utf8(error) from error
        except httpx.HTTPError as error:
            raise self._unanswered(error, method, answer_s) from error
        if response.status_code >= 400:
            raise failure_of(response)
        if not response.is_success:
            raise not_ours(response)
        return response

    def _unanswered(self, error: httpx.HTTPError, method: str, answer_s: float) -> Failure:
        """Return the failure for a request without an answer that can be read."""
        if isinstance(error, httpx.ProxyError):
            text = f"the proxy in HTTPS_PROXY or ALL_PROXY does not lead to {self._server}: {error}"
            return Failure(f"{text}; set NO_PROXY to go without it")
        if isinstance(error, httpx.TimeoutException) and not isinstance(
            error, httpx.ConnectTimeout
        ):
            done = "" if method == "GET" else "; what was asked may have been done"
            text = f"{self._server} does not answer: nothing came for {answer_s:g} s{done}"
            return Failure(f"{text}; look at its log", Exit.TIMED_OUT)
        if isinstance(error, httpx.RemoteProtocolError | httpx.DecodingError):
            text = f"{self._server} does not answer as an API does: {error}"
            return Failure(f"{text}; check --server (CELLWAY_SERVER), and http or https")
        text = f"can't reach {self._server}: {error}; is `cellway serve` running there?"
        return Failure(f"{text} (--server, CELLWAY_SERVER)")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """Return the JSON document at a path."""
        return self.document("GET", path, params=params)

    def document(self, method: str, path: str, **asked: Any) -> Any:
        """Call the API as `call` does; return the JSON document that it answers with."""
        return document_of(self.call(method, path, **asked))

    def items(self, path: str, limit: int, **params: Any) -> tuple[list[dict[str, Any]], bool]:
        """Return up to ``limit`` items of a list, page after page, and whether more follow."""
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        # One more than wanted tells whether there are more.
        while len(items) <= limit:
            wanted = min(MAX_PAGE, limit + 1 - len(items))
            page = self.get(path, limit=wanted, cursor=cursor, **params)
            items += page["items"]
            cursor = page["next"]
            if cursor is None:
                break
        return items[:limit], len(items) > limit


def _checked(token: str) -> str:
    """Return a token that can be sent.

    Raises:
        Failure: it is empty, as an unset variable of a script is, or has other characters.
    """
    if not token.strip():
        text = "the token is empty: set CELLWAY_TOKEN (or --token), or leave it out altogether"
        raise Failure(text, Exit.USAGE)
    if not all("!" <= one <= "~" for one in token):
        text = "the token has a space or another character that no token has: copy it again"
        text = f"{text} (CELLWAY_TOKEN or --token)"
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
