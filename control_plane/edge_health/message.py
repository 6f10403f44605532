"""One message on a stream of reports, read only as far as the guard of the port needs it.

The messages are those of Envoy's health discovery (envoy/service/health/v3/hds.proto). A message
either names the node or is a report. Reports are large and often equal, so a report stays bytes
here and is parsed later, once for all nodes that send the same (`report`).
"""

from __future__ import annotations

from typing import Any

from envoy.service.health.v3 import hds_pb2
from google.protobuf.message import DecodeError

MAX_MESSAGE_BYTES = 2 << 20
_REPORT_TAG = 0x12
"""The first byte of a message that is a report: field 2, length-delimited."""
HealthMessage: Any = hds_pb2.HealthCheckRequestOrEndpointHealthResponse


class ReportMessage:
    """One message as it came: it names a node, is a report, or is broken.

    It has the two things that the guard of the gRPC port looks at in any message of a node:
    ``HasField("node")`` and ``node``.
    """

    __slots__ = ("broken", "node", "payload")

    def __init__(self, payload: bytes) -> None:
        """Look at a serialised message; what is wrong with it is in ``broken``, not raised."""
        self.payload = payload
        self.node: Any = None
        """The ``envoy.config.core.v3.Node`` that the message names, if it names one."""
        self.broken = ""
        """Why the message is to be refused; empty if nothing is wrong so far."""
        if len(payload) > MAX_MESSAGE_BYTES:
            self.broken = f"{len(payload)} bytes; at most {MAX_MESSAGE_BYTES}"
        elif payload[:1] != bytes((_REPORT_TAG,)):
            self._read_node()

    def _read_node(self) -> None:
        try:
            message = HealthMessage.FromString(self.payload)
        except DecodeError as error:
            self.broken = f"malformed: {error}"
            return
        if message.WhichOneof("request_type") != "health_check_request":
            self.broken = "neither names a node nor reports"
        elif not message.health_check_request.HasField("node"):
            self.broken = "names no node"
        else:
            self.node = message.health_check_request.node

    def HasField(self, name: str) -> bool:  # noqa: N802 - protobuf's name
        """Return whether the message names a node, if ``name`` is "node"."""
        return name == "node" and self.node is not None
