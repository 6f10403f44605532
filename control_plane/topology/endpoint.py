"""Where a cell listens."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from control_plane.topology.errors import Invalid, Problem

_DNS = re.compile(r"(?=.{1,253}\Z)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.?)+\Z")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a cell listens: an IP address or DNS name, and a port (1 to 65535)."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, where: str = "endpoints") -> Endpoint:
        """Read ``host:port`` or ``[v6]:port``.

        Raises:
            Invalid: malformed, with what is expected.
        """
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            colon = ""
        if not colon or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
            raise Invalid(Problem(where, f"{text!r} is no host:port", "write 10.0.0.1:443"))
        if not _is_host(host):
            mend = "use an IP address or a DNS name"
            raise Invalid(Problem(where, f"{host!r} is no host", mend))
        return cls(host, int(port))

    @property
    def is_ip(self) -> bool:
        """Whether the host is an IP address, so that no DNS is needed."""
        return _is_ip(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_host(host: str) -> bool:
    if _is_ip(host):
        return True
    return bool(_DNS.match(host)) and not host.replace(".", "").isdigit()
