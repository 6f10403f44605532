"""Reads Envoy's admin interface for the reporter, each second over one connection.

Two questions are asked (measured with 1,000 cells of two endpoints each, Envoy 1.40):

- ``/clusters`` as JSON says everything. It costs Envoy's main thread 24 ms, and the agent 18 ms.
- ``/stats`` with the two membership gauges of each cluster costs 6 ms and 1 ms. It says for which
  clusters something may have changed; ``/clusters`` is then asked for those by name.

The gauges alone would not do: they call an endpoint that was never checked unhealthy, and during an
update two clusters of one name share them.

`process.envoy_admin` shares no logic with this: it commands an Envoy that we started, over a
connection for each command.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import re2
from envoy.config.core.v3 import health_check_pb2

from control_plane.process.admin_address import AdminAddress

MAX_ANSWER_BYTES = 64 << 20
ANSWER_TIMEOUT_S = 5.0
"""How long each part of an answer may take."""
WHOLE_ANSWER_S = 20.0
"""How long all of an answer may take: one that trickles must not keep the reporter waiting."""
_GAUGES = {
    "type": "Gauges",
    "format": "json",
    "filter": r"^cluster\..*\.membership_(healthy|total)$",
}
_UNHEALTHY = (
    "failed_active_health_check",
    "failed_outlier_check",
    "excluded_via_immediate_hc_fail",
)
_DEGRADED = ("failed_active_degraded_check",)
_EDS_UNHEALTHY = frozenset({"UNHEALTHY", "DRAINING", "TIMEOUT"})


class AdminError(Exception):
    """Envoy's admin interface did not answer, or its answer is not one of Envoy's."""


@dataclass(frozen=True, slots=True)
class EdgeNode:
    """The name of an Envoy and of its group (the node's cluster), as it says itself."""

    id: str
    group: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster as Envoy's load balancer has it."""

    stats_name: str
    """Its name in stats."""
    endpoints: tuple[tuple[str, int, int], ...]
    """Host, port and health status of each; path, 0 and status for a Unix socket."""
    dynamic: bool = True
    """Whether it came from a control plane."""


class Admin:
    """One Envoy's admin interface."""

    def __init__(self, address: AdminAddress) -> None:
        self._client = address.client(ANSWER_TIMEOUT_S)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def node(self) -> EdgeNode | None:
        """Return who this Envoy is; None while it has no configuration yet.

        Raises:
            AdminError: It did not answer as Envoys do.
        """
        info = await self._json("/server_info", {})
        try:
            if info["state"] in ("PRE_INITIALIZING", "INITIALIZING"):
                return None
            return EdgeNode(str(info["node"]["id"]), str(info["node"].get("cluster", "")))
        except (KeyError, TypeError, AttributeError) as error:
            raise AdminError(f"/server_info is not Envoy's: {error!r}") from error

    async def gauges(self) -> dict[str, int]:
        """Return the membership gauges by name.

        Raises:
            AdminError: It did not answer as Envoys do.
        """
        return gauges_of(await self._json("/stats", _GAUGES))

    async def clusters(self, names: Iterable[str] | None = None) -> dict[str, Cluster]:
        """Return clusters by name.

        Args:
            names: With or without a prefix before a colon; None: all clusters.

        Raises:
            AdminError: It did not answer as Envoys do.
        """
        query = {"format": "json"}
        if names is not None:
            wanted = "|".join(re2.escape(name) for name in sorted(names))
            query["filter"] = f"^(?:[^:]*:)?(?:{wanted})$"
        return clusters_of(await self._json("/clusters", query))

    async def _json(self, path: str, query: Mapping[str, str]) -> Any:
        content = bytearray()
        try:
            async with (
                asyncio.timeout(WHOLE_ANSWER_S),
                self._client.stream("GET", path, params=dict(query)) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    raise AdminError(f"{path}: answered {response.status_code}")
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > MAX_ANSWER_BYTES:
                        raise AdminError(f"{path}: answered over {MAX_ANSWER_BYTES} bytes")
            return json.loads(content)
        except TimeoutError as error:
            raise AdminError(f"{path}: no whole answer in {WHOLE_ANSWER_S:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AdminError(f"{path}: {str(error) or type(error).__name__}") from error
        except (ValueError, RecursionError) as error:
            raise AdminError(f"{path}: no JSON: {error}") from error


def gauges_of(document: Any) -> dict[str, int]:
    """Return the gauges by name in an answer of ``/stats``, or raise `AdminError`."""
    try:
        return {stat["name"]: stat["value"] for stat in document["stats"] if "name" in stat}
    except (KeyError, TypeError) as error:
        raise AdminError(f"/stats is not Envoy's: {error!r}") from error


def clusters_of(document: Any) -> dict[str, Cluster]:
    """Return the clusters by name in an answer of ``/clusters``, or raise `AdminError`."""
    try:
        return {
            status["name"]: Cluster(
                status.get("observability_name", status["name"]).replace(":", "_"),
                tuple(map(_endpoint, status.get("host_statuses", ()))),
                bool(status.get("added_via_api")),
            )
            for status in document.get("cluster_statuses", ())
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise AdminError(f"/clusters is not Envoy's: {error!r}") from error


def _endpoint(host: Any) -> tuple[str, int, int]:
    address = host["address"]
    status = _status(host.get("health_status", {}))
    if "socket_address" in address:
        socket = address["socket_address"]
        return socket["address"], int(socket.get("port_value", 0)), status
    return str(address.get("pipe", {}).get("path", "")), 0, status


def _status(flags: Mapping[str, Any]) -> int:
    """Return Envoy's flags of a host as one HealthStatus, which tells whether it is used."""
    if flags.get("pending_active_hc"):
        status: int = health_check_pb2.UNKNOWN
    elif (
        any(flags.get(name) for name in _UNHEALTHY)
        or flags.get("eds_health_status") in _EDS_UNHEALTHY
    ):
        status = health_check_pb2.UNHEALTHY
    elif any(flags.get(name) for name in _DEGRADED):
        status = health_check_pb2.DEGRADED
    else:
        status = health_check_pb2.HEALTHY
    return status
