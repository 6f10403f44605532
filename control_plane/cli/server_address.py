"""The address of the API, and whether a proxy may stand between.

A proxy of the environment (HTTPS_PROXY, ALL_PROXY) carries https only: there it sees neither the
token nor what is answered. Plain http goes straight to the server, because a proxy that somebody
has set for other programs would read the token. Nothing to this machine itself goes through one.
"""

from __future__ import annotations

import ipaddress

import httpx

from control_plane.cli.failure import Exit, Failure


def server_url(text: str) -> httpx.URL:
    """Return the address of an API.

    Raises:
        Failure: it is none; the message says how one is written.
    """
    try:
        url = httpx.URL(text)
        host = url.host
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise _malformed(text, f": {error}") from error
    if url.scheme not in {"http", "https"} or not host or url.userinfo or url.query or url.fragment:
        raise _malformed(text)
    return url


def _malformed(text: str, why: str = "") -> Failure:
    shown = ascii(text[:100].rpartition("@")[2])
    hint = "write http://127.0.0.1:8000 or https://HOST:PORT (--server, CELLWAY_SERVER)"
    return Failure(f"{shown} is no address of an API{why}; {hint}", Exit.USAGE)


def may_use_proxy(url: httpx.URL) -> bool:
    """Return whether a proxy that the environment names may carry requests to an address."""
    return url.scheme == "https" and not _is_loopback(url.host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
