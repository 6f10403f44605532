"""Checks every request, before its session handles it."""

from __future__ import annotations

from typing import Any

from control_plane.names import NODE_NAME
from control_plane.xds.session.ledger import ProtocolError

MAX_TYPE_URL_CHARS = 256
"""The longest type URL: what a client asks for is remembered, whether it is served or not."""
_NAMES = (
    "resource_names",
    "resource_names_subscribe",
    "resource_names_unsubscribe",
    "initial_resource_versions",
)
_SHOWN_CHARS = 256
"""How much of a foreign name an error text repeats."""


def check_request(request: Any, implied_type: str, max_names: int) -> None:
    """Check a request of either protocol, and fill in the type that its service implies.

    Args:
        request: The request; its ``type_url`` is filled in.
        implied_type: The type of a single-type service; empty for ADS.
        max_names: How many names one request may have, in all its fields.

    Raises:
        ProtocolError: The request has no type or too many names.
    """
    if implied_type:
        request.type_url = request.type_url or implied_type
    if not request.type_url:
        raise ProtocolError("type_url is missing")
    if len(request.type_url) > MAX_TYPE_URL_CHARS:
        raise ProtocolError(f"type_url has over {MAX_TYPE_URL_CHARS} characters")
    count = sum(len(getattr(request, field, ())) for field in _NAMES)
    if count > max_names:
        raise ProtocolError(f"{count} names in one request; at most {max_names}")


def check_same_node(node: Any, node_id: str, group: str) -> None:
    """Check that a later request of a stream is of the same node; it need not say so.

    Raises:
        ProtocolError: It is of another node or group.
    """
    if node.id not in {"", node_id} or node.cluster not in {"", group}:
        raise ProtocolError(
            f"this stream is that of {node_id!r} in {group!r}, "
            f"not of {node.id[:_SHOWN_CHARS]!r} in {node.cluster[:_SHOWN_CHARS]!r}"
        )


def check_node(node: Any) -> None:
    """Check the names by which a node will be logged and shown.

    Raises:
        ProtocolError: The id is missing, or it or the cluster is not fit to be shown.
    """
    if not NODE_NAME.match(node.id) or not NODE_NAME.match(node.cluster or "-"):
        raise ProtocolError("node.id must be 1 to 256 visible ASCII characters; cluster too")


def envoy_version(node: Any) -> str:
    """Return the version that a node says it has, as ``1.40.0``; 0.0.0 if it says none."""
    version = node.user_agent_build_version.version
    return f"{version.major_number}.{version.minor_number}.{version.patch}"
