"""The state of one edge: what it holds of each cluster, and how a report changes that.

After an edge has named itself, its first report says all that it holds; later ones say only the
clusters that have changed, or nothing, as a heartbeat. A node that names itself again starts over.

The problem: when a control plane comes back, a thousand edges send it the same large report, and
when an endpoint dies they all send the same change. The idea: what an edge holds is an immutable
`EdgeHealth`, and equal reports on the same `EdgeHealth` give one and the same result, which is
worked out once and shared. Example:

    NO_CLUSTERS  + report {a: up, b: up}   → A {a: up, b: up}     parsed for the first edge only
    A            + report {b: down}        → B {a: up, b: down}   a is shared with A
    B            + report {}               → B                    a heartbeat
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from envoy.config.core.v3 import health_check_pb2
from google.protobuf.message import DecodeError

from control_plane.edge_health.message import HealthMessage

LARGE_BYTES = 16 << 10
"""A longer report takes some tens of milliseconds to parse, so a thread does it."""
MAX_CLUSTERS = 10_000
"""Clusters of one node."""
MAX_ENDPOINTS = 50_000
"""Endpoints in one report."""
MAX_NAME = 512
_MAX_SHARED = 64
"""Results of reports that are kept for other nodes that send the same."""
_MAX_SHARED_CLUSTERS = 100_000
"""Clusters in these results, each of which takes some 250 bytes."""
_USED = frozenset({health_check_pb2.HEALTHY, health_check_pb2.DEGRADED})
"""The states in which Envoy sends requests to an endpoint."""


class BadReport(Exception):
    """A message breaks the protocol."""


class LimitExceeded(Exception):
    """A message, or what it adds to, is over a limit."""


class ClusterHealth(NamedTuple):
    """How many endpoints of a cluster an edge has, and how many of them get requests."""

    healthy: int
    unknown: int
    """Endpoints that the edge has not checked yet."""
    total: int

    @property
    def reachable(self) -> bool | None:
        """Whether the edge can reach the cluster; None if it does not know yet."""
        if self.healthy:
            return True
        return None if self.unknown else False


class EdgeHealth:
    """The health of all clusters of one edge. Immutable and shared; compared by identity."""

    __slots__ = ("clusters",)

    def __init__(self, clusters: Mapping[str, ClusterHealth]) -> None:
        self.clusters = clusters


NO_CLUSTERS = EdgeHealth({})
"""The state of an edge that has not reported anything."""


class ReportReader:
    """Applies reports; equal reports on the same `EdgeHealth` are parsed once."""

    def __init__(self) -> None:
        self._results: OrderedDict[tuple[EdgeHealth, bytes], EdgeHealth] = OrderedDict()
        """By what was there before and the hash of the report; those used last stand last."""
        self._clusters = 0

    async def apply(self, before: EdgeHealth, payload: bytes) -> EdgeHealth:
        """Return what an edge holds after a report.

        Args:
            before: What it held.
            payload: The serialised report. A large one that is new is parsed in a thread.

        Raises:
            BadReport: The report can't be read.
            LimitExceeded: The report, or what the edge holds after it, is over a limit.
        """
        key = before, hashlib.blake2b(payload, digest_size=16).digest()
        after = self._results.get(key)
        if after is None:
            if len(payload) > LARGE_BYTES:
                after = await asyncio.to_thread(apply_report, before, payload)
            else:
                after = apply_report(before, payload)
        self._keep(key, after)
        return after

    def _keep(self, key: tuple[EdgeHealth, bytes], after: EdgeHealth) -> None:
        """Keep a result, and as many of those used last as there is room for."""
        replaced = self._results.pop(key, NO_CLUSTERS)
        self._results[key] = after
        self._clusters += len(after.clusters) - len(replaced.clusters)
        while len(self._results) > _MAX_SHARED or self._clusters > _MAX_SHARED_CLUSTERS:
            _, dropped = self._results.popitem(last=False)
            self._clusters -= len(dropped.clusters)


def apply_report(before: EdgeHealth, payload: bytes) -> EdgeHealth:
    """Return what an edge holds after a report; as `ReportReader.apply`, without sharing."""
    changed = dict(_clusters(payload))
    if not changed:
        return before
    after = EdgeHealth({**before.clusters, **changed})
    if len(after.clusters) > MAX_CLUSTERS:
        raise LimitExceeded(f"{len(after.clusters)} clusters; at most {MAX_CLUSTERS}")
    return after


def _clusters(payload: bytes) -> Iterator[tuple[str, ClusterHealth]]:
    try:
        message = HealthMessage.FromString(payload)
    except DecodeError as error:
        raise BadReport(f"malformed: {error}") from error
    if message.WhichOneof("request_type") != "endpoint_health_response":
        raise BadReport("a message is both a name and a report")
    clusters = message.endpoint_health_response.cluster_endpoints_health
    if len(clusters) > MAX_CLUSTERS:
        raise LimitExceeded(f"{len(clusters)} clusters; at most {MAX_CLUSTERS}")
    endpoints = 0
    for cluster in clusters:
        if not 0 < len(cluster.cluster_name) <= MAX_NAME:
            raise BadReport(f"a cluster's name has {len(cluster.cluster_name)} characters")
        health = _health_of(cluster)
        endpoints += health.total
        if endpoints > MAX_ENDPOINTS:
            raise LimitExceeded(f"more than {MAX_ENDPOINTS} endpoints")
        yield cluster.cluster_name, health


def _health_of(cluster: Any) -> ClusterHealth:
    healthy = unknown = total = 0
    for locality in cluster.locality_endpoints_health:
        for endpoint in locality.endpoints_health:
            status = endpoint.health_status
            healthy += status in _USED
            unknown += status == health_check_pb2.UNKNOWN
            total += 1
    return ClusterHealth(healthy, unknown, total)
