"""Ports that nothing else takes between being chosen and being listened on."""

from __future__ import annotations

import socket
from pathlib import Path
from random import SystemRandom

FIRST = 20_000
TRIES = 100


def unused_port() -> int:
    """A free loopback port that the kernel gives to nobody who asks for any.

    One that was given out as "any" and closed again may be given to the next connection.
    """
    ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert ephemeral > FIRST, "there are no ports below the ephemeral ones"
    for _ in range(TRIES):
        port = SystemRandom().randrange(FIRST, ephemeral)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError(f"no free port from {FIRST} to {ephemeral} in {TRIES} tries")
