"""Reads the texts that settings are given as."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from pydantic import ValidationInfo

_SEVERAL_HOSTS = re.compile(
    r"(?P<before>postgres[^:]*://(?:[^@/?]*@)?)(?P<hosts>[^/?@]+,[^/?@]+)(?:/(?P<path>[^?]*))?"
    r"(?:\?(?P<query>.*))?\Z"
)
_IN_MEMORY = re.compile(r"sqlite(\+\w+)?://(/:memory:)?\Z")
_HOST_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,252})\Z")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach what listens on a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def variable(info: ValidationInfo) -> str:
    """Return the name of a setting as a variable of the environment."""
    return f"CELLWAY_{(info.field_name or '').upper()}"


def api_host(host: str) -> str:
    """Return a host name or an IP address as the API compares it.

    Raises:
        ValueError: it is neither.
    """
    text = host.lower().removesuffix(".")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if _HOST_NAME.match(text):
            return text
    raise ValueError(f"{host!r}: give a host's name or IP address, without scheme, port or *")


def database_in(directory: Path) -> str:
    """Return the URL of the SQLite file in a data directory."""
    return f"sqlite:///{directory / 'cellway.db'}"


def in_memory(url: str) -> bool:
    """Return whether a URL means a SQLite database that has no file."""
    return _IN_MEMORY.match(url) is not None


def single_authority(url: str) -> str:
    """Return a database URL with several hosts, as libpq has them, in the form of SQLAlchemy.

    ``postgresql://u@a:1,b:2/db`` becomes ``postgresql://u@/db?host=a:1&host=b:2``. Others stay.
    """
    found = _SEVERAL_HOSTS.match(url)
    if found is None:
        return url
    hosts = "&".join(f"host={host}" for host in found["hosts"].split(","))
    rest = f"{hosts}&{found['query']}" if found["query"] else hosts
    return f"{found['before']}/{found['path'] or ''}?{rest}"


def resolver(server: str) -> tuple[str, int]:
    """Read ``IP``, ``IP:port`` or ``[IPv6]:port``; the default port is 53.

    Raises:
        ValueError: it is none of these.
    """
    if server.startswith("["):
        host, _, port = server[1:].partition("]:")
    elif server.count(":") == 1:
        host, _, port = server.partition(":")
    else:
        host, port = server, "53"
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
        raise ValueError(f"{server!r}: give IP:port or [IPv6]:port")
    return str(ipaddress.ip_address(host)), int(port)
