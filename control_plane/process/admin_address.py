"""Where an Envoy's admin interface listens: on a Unix socket, or on a port of this machine."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from control_plane.process.listening import host_port


@dataclass(frozen=True, slots=True)
class AdminAddress:
    """The socket of an admin interface, or its host and port."""

    socket: str = ""
    """The socket's path; empty: it listens on a port."""
    host: str = "127.0.0.1"
    port: int = 0

    @classmethod
    def read(cls, text: str) -> AdminAddress:
        """Read what Envoy writes to its ``--admin-address-path``: a path, or ``host:port``.

        A text that is neither, or none, is port 0, on which nothing ever answers.
        """
        text = text.strip()
        if "/" in text:
            return cls(socket=text)
        host, _, port = text.rpartition(":")
        if not (port.isascii() and port.isdigit()):
            return cls()
        return cls(host=host.strip("[]"), port=int(port))

    def __str__(self) -> str:
        return f"unix:{self.socket}" if self.socket else f"http://{host_port(self.host, self.port)}"

    def client(self, timeout_s: float) -> httpx.AsyncClient:
        """Return a client of the admin interface, whose requests have paths only."""
        if self.socket:
            transport = httpx.AsyncHTTPTransport(uds=self.socket)
            base = "http://envoy"
        else:
            transport, base = httpx.AsyncHTTPTransport(), str(self)
        return httpx.AsyncClient(
            base_url=base, transport=transport, timeout=timeout_s, trust_env=False
        )
