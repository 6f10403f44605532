"""gRPC options of the port that Envoys connect to: pings, connection age, message sizes."""

from __future__ import annotations

MAX_RECEIVED_BYTES = 2 << 20
"""To read a message holds the event loop; of so many bytes, for 40 ms at most. A node that names
10,000 resources with their versions sends 0.6 MiB."""
MAX_SENT_BYTES = 64 << 20
KEEPALIVE_S = 30.0
KEEPALIVE_TIMEOUT_S = 10.0
CONNECTION_AGE_S = 12 * 3600.0
CONNECTION_GRACE_S = 120.0
MIN_CLIENT_PING_INTERVAL_S = 5.0
"""A client that pings a silent connection more often is disconnected (GOAWAY, "too_many_pings").

It is half the interval of the agent, whose pings are the most frequent of ours: if a ping is late,
the next one seems early, and gRPC counts such strikes for as long as nothing is sent.
"""


def grpc_options(
    *,
    keepalive_s: float = KEEPALIVE_S,
    keepalive_timeout_s: float = KEEPALIVE_TIMEOUT_S,
    connection_age_s: float = CONNECTION_AGE_S,
    connection_grace_s: float = CONNECTION_GRACE_S,
) -> tuple[tuple[str, int], ...]:
    """Return channel arguments of gRPC core (github.com/grpc/grpc, doc/keepalive.md).

    Args:
        keepalive_s: See `ping_options`.
        keepalive_timeout_s: See `ping_options`.
        connection_age_s: After this time a client is told to reconnect, so that a fleet spreads
            over the replicas. gRPC core adds a jitter of a tenth either way.
        connection_grace_s: How long streams go on after that. gRPC's default is for ever, and a
            stream of Envoy's, which never ends by itself, would not move.
    """
    return (
        ("grpc.max_receive_message_length", MAX_RECEIVED_BYTES),
        ("grpc.max_send_message_length", MAX_SENT_BYTES),
        ("grpc.so_reuseport", 0),
        *ping_options(keepalive_s=keepalive_s, keepalive_timeout_s=keepalive_timeout_s),
        ("grpc.max_connection_age_ms", _ms(connection_age_s)),
        ("grpc.max_connection_age_grace_ms", _ms(connection_grace_s)),
    )


def ping_options(
    *, keepalive_s: float = KEEPALIVE_S, keepalive_timeout_s: float = KEEPALIVE_TIMEOUT_S
) -> tuple[tuple[str, int], ...]:
    """Return the channel arguments of a server of silent streams: it pings, and accepts pings.

    By default gRPC core closes the connection of a client that pings more than twice in ten
    minutes.

    Args:
        keepalive_s: How often a silent connection is pinged. With gRPC's default of two hours, a
            node behind a broken NAT would count as connected for so long.
        keepalive_timeout_s: How long the answer to a ping may take before the connection is closed.
            It also holds for pings that gRPC sends for its own purposes, which replace those of
            keepalive and would otherwise have a minute.
    """
    return (
        ("grpc.keepalive_time_ms", _ms(keepalive_s)),
        ("grpc.keepalive_timeout_ms", _ms(keepalive_timeout_s)),
        ("grpc.http2.ping_timeout_ms", _ms(keepalive_timeout_s)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(MIN_CLIENT_PING_INTERVAL_S)),
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
