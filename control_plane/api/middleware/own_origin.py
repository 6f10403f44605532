"""Refuses what a web page of another site makes a browser send.

The problem: a browser on this machine reaches the API on loopback, and every page that is open in
it may send requests there. Without a configured token those requests are an admin's. There are two
ways. A page may send one right away (a form, ``fetch`` with ``text/plain``); it can't read the
answer, but the write is done. Or its owner lets the page's own name point to 127.0.0.1 (DNS
rebinding); then the browser takes the API for a part of that page, and the page reads everything.

The idea: a page can't change the headers in which a browser says where a request comes from. Other
clients don't send ``Origin`` and ``Sec-Fetch-Site``, so they pass.

    header          what passes                       what it stops
    Host            loopback, or `api_hosts`          rebinding: the browser sends the page's name
    Origin          the API's own                     writes of other pages
    Sec-Fetch-Site  same-origin, none (typed in)      reads of other pages, which have no Origin

With a configured token and no ``api_hosts``, any Host passes: a rebound page has no token, and
behind a proxy the API can't know its names. With both, probes may use any Host, because
orchestrators probe addresses.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection

from control_plane.api.auth import is_probe
from control_plane.api.middleware.asgi import App, Message, Receive, Send, values_of
from control_plane.api.problem import ProblemError, problem

PAGES = frozenset({"/docs"})
"""Pages for people: a link on another site may open them. No link opens an operation."""
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_][a-z0-9_.-]{0,254})(?::[0-9]{0,5})?\Z")
_OWN_SITES = frozenset({b"same-origin", b"none"})
_NAVIGATION = (b"navigate", b"document")
_FOR_BROWSERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Headers of every answer: browsers let other sites neither embed nor reinterpret it."""


class OwnOrigin:
    """ASGI middleware that refuses requests of other sites' pages, and those to other hosts."""

    def __init__(
        self,
        app: App,
        hosts: Collection[str] | None,
        *,
        admits_strangers: bool,
        refused: Callable[[str], None],
    ) -> None:
        """Wrap an app.

        Args:
            app: The app inside.
            hosts: The names by which clients reach the API, beside those of loopback. None: Host is
                not checked.
            admits_strangers: Whether callers without credentials are admins.
            refused: Is told the code of each refusal.
        """
        self._app = app
        self._hosts = frozenset(hosts or ())
        self._checks_hosts = hosts is not None and (admits_strangers or bool(hosts))
        self._spares_probes = not admits_strangers
        self._refused = refused

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_FOR_BROWSERS]
            await send(message)

        try:
            self._check(scope)
        except ProblemError as error:
            self._refused(error.members["code"])
            answer = problem(error.status, error.detail, **error.members)
            await answer(scope, receive, send_marked)
            return
        await self._app(scope, receive, send_marked)

    def _check(self, scope: Message) -> None:
        """Check where a request comes from, and to which host it goes.

        Raises:
            ProblemError: (400) Host is malformed. (421) It is none of ours. (403) Another site's
                page has sent the request.
        """
        authority = _host_of(scope)
        is_spared = self._spares_probes and is_probe(scope)
        if self._checks_hosts and not is_spared and not self._is_own(authority):
            detail = (
                f"this API is not {authority[:100]!r}: use a loopback address, or name the host in"
                " CELLWAY_API_HOSTS"
            )
            raise ProblemError(421, detail, code="wrong-host")
        for origin in values_of(scope, b"origin"):
            if not self._is_own_origin(origin.decode("latin-1").lower(), authority):
                raise _foreign(f"of the origin {origin[:100].decode('latin-1')!r}")
        for site in values_of(scope, b"sec-fetch-site"):
            if site.lower() not in _OWN_SITES and not _opens_page(scope):
                raise _foreign(f"of another site (Sec-Fetch-Site: {site[:20].decode('latin-1')})")

    def _is_own(self, authority: str) -> bool:
        """Return whether a ``host`` or ``host:port`` is loopback or a configured host."""
        name = _name_of(authority)
        return name is not None and (name in self._hosts or _is_loopback(name))

    def _is_own_origin(self, origin: str, authority: str) -> bool:
        """Return whether an origin is that of the API, as the client or a proxy names it."""
        scheme, separator, sender = origin.partition("://")
        if not separator or scheme not in {"http", "https"}:
            return False
        return sender == authority or _name_of(sender) in self._hosts


def _host_of(scope: Message) -> str:
    """Return the value of Host in lower case; empty without one, as probes of HTTP/1.0 are.

    Raises:
        ProblemError: (400) There are several, or it can't be one.
    """
    values = values_of(scope, b"host")
    authority = values[0].decode("latin-1").lower() if values else ""
    if len(values) > 1 or (authority and _name_of(authority) is None):
        raise ProblemError(400, "send one Host: NAME or NAME:PORT", code="malformed-host")
    return authority


def _name_of(authority: str) -> str | None:
    """Return the host of ``host`` or ``host:port`` in lower case, an address in its usual form.

    Return None for what is no such text.
    """
    match = _AUTHORITY.match(authority)
    if match is None:
        return None
    name = match[1].strip("[]").removesuffix(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return None if match[1].startswith("[") else name


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _opens_page(scope: Message) -> bool:
    """Return whether a link of another site opens a page of ours in a tab of its own."""
    fetch = tuple(
        b"".join(values_of(scope, name)).lower() for name in (b"sec-fetch-mode", b"sec-fetch-dest")
    )
    return scope["method"] == "GET" and scope["path"] in PAGES and fetch == _NAVIGATION


def _foreign(what: str) -> ProblemError:
    detail = f"a web page {what} has sent this; only the API's own pages may"
    return ProblemError(403, detail, code="cross-site")
