"""Free ports that no other program takes before the test listens on them."""

from __future__ import annotations

import socket
from pathlib import Path
from random import SystemRandom

FIRST = 20_000
TRIES = 100


def unused_port() -> int:
    """Return a free loopback port below the range from which the kernel hands out ports.

    A port that the kernel chose (``bind`` to port 0) and that was closed again may be handed out
    for the next connection of any program.
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
