"""Bounds of what clients can make the xDS server hold, and of how long it waits for them."""

from __future__ import annotations

from dataclasses import dataclass

from control_plane.xds.server.transport import MAX_SENT_BYTES
from control_plane.xds.session.session import GATE_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of all streams of a server."""

    streams: int = 10_000
    streams_per_node: int = 64
    """An Envoy has one stream, or one for each type, and twice that while it restarts hot."""
    names_per_request: int = 30_000
    """Names and versions together. So many take 40 ms; a topology of 10,000 cells needs 20,000."""
    response_bytes: int = MAX_SENT_BYTES
    hello_timeout_s: float = 30.0
    """How long a stream may take to say which node it is."""
    gate_timeout_s: float = GATE_TIMEOUT_S
    """How long one type may hold back the next, because a cluster never warms or an answer is
    lost."""
    confirm_timeout_s: float = 5.0
    """How long a node that has nothing waits for the proof that the snapshot is not an old one."""
    variant_timeout_s: float = 5.0
    """How long a node that has just come waits for its variant to be made, before it gets the plain
    one; see `xds.variants`."""
