"""gRPC options of the port that Envoys connect to: pings, connection age, message sizes."""

from __future__ import annotations

MAX_RECEIVED_BYTES = 16 << 20
MAX_SENT_BYTES = 64 << 20
KEEPALIVE_S = 30.0
KEEPALIVE_TIMEOUT_S = 10.0
CONNECTION_AGE_S = 12 * 3600.0
CONNECTION_GRACE_S = 120.0
MIN_CLIENT_PING_INTERVAL_S = 5.0
"""Clients that ping a silent connection more often are sent away (GOAWAY, "too_many_pings").

Half of what the quickest of ours leaves between two, the agent: a late ping makes the next one seem
early, and gRPC counts strikes for as long as nothing is sent.
"""


def grpc_options(
    *,
    keepalive_s: float = KEEPALIVE_S,
    keepalive_timeout_s: float = KEEPALIVE_TIMEOUT_S,
    connection_age_s: float = CONNECTION_AGE_S,
    connection_grace_s: float = CONNECTION_GRACE_S,
) -> tuple[tuple[str, int], ...]:
    """Channel arguments of gRPC core (github.com/grpc/grpc, doc/keepalive.md).

    Args:
        keepalive_s: see `ping_options`.
        keepalive_timeout_s: see there.
        connection_age_s: after this a client is told to reconnect, so that a fleet spreads over
            replicas; gRPC core adds jitter of its own, a tenth either way.
        connection_grace_s: how long streams go on after that. gRPC's default is for ever, so a
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
    """What a server of silent streams needs: it pings, and lets itself be pinged.

    By default gRPC core closes the connection of whoever pings more than twice in ten minutes.

    Args:
        keepalive_s: how often a silent connection is pinged. gRPC's own default is two hours, in
            which a node behind a broken NAT would count as connected.
        keepalive_timeout_s: how long the answer to a ping may take before the connection is closed;
            also for pings that gRPC sends for its own ends, which take the place of keepalive's and
            would have a minute.
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
