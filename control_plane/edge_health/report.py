"""What comes on a stream of reports: who reports, and what it holds of each cluster.

The messages are those of Envoy's health discovery (envoy/service/health/v3/hds.proto). The first
one names the node; the next says all that it holds; later ones only the clusters that have changed,
or nothing, as a heartbeat. A node that names itself again starts over. A control plane that comes
back hears the same bytes from each node of a healthy fleet, and a dead endpoint is the same change
for all: so equal reports on equal ground are read once, and their result is shared.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from envoy.config.core.v3 import health_check_pb2
from envoy.service.health.v3 import hds_pb2
from google.protobuf.message import DecodeError

MAX_REPORT_BYTES = 2 << 20
LARGE_BYTES = 128 << 10
"""A report of more takes some tens of milliseconds to read."""
MAX_CLUSTERS = 10_000
"""Of one node."""
MAX_ENDPOINTS = 50_000
"""In one report."""
MAX_NAME = 512
_SHARED = 64
"""Results of reports that are kept for other nodes that say the same."""
_REPORT_TAG = 0x12
"""The first byte of a message that is a report: field 2, length-delimited."""
_USED = frozenset({health_check_pb2.HEALTHY, health_check_pb2.DEGRADED})
_Message: Any = hds_pb2.HealthCheckRequestOrEndpointHealthResponse


class BadReport(Exception):
    """A message that breaks the protocol."""


class TooMuch(Exception):
    """A message, or what it adds to, is over a bound."""


class Held(NamedTuple):
    """How many endpoints of a cluster an edge has, and how many of them get requests.

    ``unknown`` are those that it has not checked yet.
    """

    healthy: int
    unknown: int
    total: int

    @property
    def says(self) -> bool | None:
        """Whether the edge can reach the cluster; None: it does not know yet."""
        if self.healthy:
            return True
        return None if self.unknown else False


class View:
    """What one edge holds of all clusters. Never changed, and shared: compared by identity."""

    __slots__ = ("clusters",)

    def __init__(self, clusters: Mapping[str, Held]) -> None:
        self.clusters = clusters


NOTHING = View({})


class Message:
    """One message as it came: either it names the node, or it is a report.

    Has the two things that the guard of the gRPC port looks at, ``HasField("node")`` and ``node``.
    """

    __slots__ = ("broken", "node", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.node: Any = None
        self.broken = ""
        if len(payload) > MAX_REPORT_BYTES:
            self.broken = f"{len(payload)} bytes; at most {MAX_REPORT_BYTES}"
        elif payload[:1] != bytes((_REPORT_TAG,)):
            self._read_node()

    def _read_node(self) -> None:
        try:
            made = _Message.FromString(self.payload)
        except DecodeError as error:
            self.broken = f"malformed: {error}"
            return
        if made.WhichOneof("request_type") != "health_check_request":
            self.broken = "neither names a node nor reports"
        elif not made.health_check_request.HasField("node"):
            self.broken = "names no node"
        else:
            self.node = made.health_check_request.node

    def HasField(self, name: str) -> bool:  # noqa: N802 - protobuf's name
        """Whether it names a node."""
        return name == "node" and self.node is not None


@dataclass(slots=True)
class _Sizes:
    endpoints: int = 0


type _Key = tuple[View, bytes]


class Views:
    """Makes views from reports; equal reports on equal views give the same view."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, View] = OrderedDict()

    async def after(self, before: View, payload: bytes) -> View:
        """What an edge holds after a report. A large one that is new is read in a thread.

        Raises:
            BadReport: it can't be read.
            TooMuch: it is over a bound.
        """
        key = before, hashlib.blake2b(payload, digest_size=16).digest()
        known = self._known.get(key)
        if known is None:
            if len(payload) > LARGE_BYTES:
                known = await asyncio.to_thread(view_after, before, payload)
            else:
                known = view_after(before, payload)
        self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > _SHARED:
            self._known.popitem(last=False)
        return known


def view_after(before: View, payload: bytes) -> View:
    """What an edge holds after a report; raises as `Views.after` does."""
    changed = dict(_clusters(payload))
    if not changed:
        return before
    made = View({**before.clusters, **changed})
    if len(made.clusters) > MAX_CLUSTERS:
        raise TooMuch(f"{len(made.clusters)} clusters; at most {MAX_CLUSTERS}")
    return made


def _clusters(payload: bytes) -> Iterator[tuple[str, Held]]:
    try:
        message = _Message.FromString(payload)
    except DecodeError as error:
        raise BadReport(f"malformed: {error}") from error
    if message.WhichOneof("request_type") != "endpoint_health_response":
        raise BadReport("a message is both a name and a report")
    report = message.endpoint_health_response
    if len(report.cluster_endpoints_health) > MAX_CLUSTERS:
        count = len(report.cluster_endpoints_health)
        raise TooMuch(f"{count} clusters; at most {MAX_CLUSTERS}")
    sizes = _Sizes()
    for cluster in report.cluster_endpoints_health:
        if not 0 < len(cluster.cluster_name) <= MAX_NAME:
            raise BadReport(f"a cluster's name has {len(cluster.cluster_name)} characters")
        yield cluster.cluster_name, _held(cluster, sizes)


def _held(cluster: Any, sizes: _Sizes) -> Held:
    healthy = unknown = total = 0
    for locality in cluster.locality_endpoints_health:
        for endpoint in locality.endpoints_health:
            status = endpoint.health_status
            healthy += status in _USED
            unknown += status == health_check_pb2.UNKNOWN
            total += 1
    sizes.endpoints += total
    if sizes.endpoints > MAX_ENDPOINTS:
        raise TooMuch(f"more than {MAX_ENDPOINTS} endpoints")
    return Held(healthy, unknown, total)
