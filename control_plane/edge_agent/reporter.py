"""Tells the control plane which endpoints the Envoy beside us holds healthy.

What Envoy's load balancer holds can only be read from its admin interface. So the reporter, which
runs beside Envoy, reads it every second and reports what has changed (`edge_health.report`
describes the messages). If a report can't be delivered or Envoy does not answer, the reporter
starts over: it names the node and reports everything.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from envoy.service.health.v3 import hds_pb2

from control_plane.edge_agent.admin import Admin, AdminError, Cluster, EdgeNode
from control_plane.edge_agent.edge_view import EdgeView
from control_plane.edge_agent.metrics import ReporterMetrics
from control_plane.edge_agent.upstream import ControlPlane, final_status
from control_plane.edge_health.book import HEARTBEAT_S

log = logging.getLogger(__name__)
INTERVAL_S = 1.0
"""How often Envoy is asked."""
FIRST_PAUSE_S = 0.2
"""The pause before the first try to start over."""
MAX_PAUSE_S = 2.0
"""The pause before further tries. A node's last report counts for longer than that (`book`)."""
WRITE_S = 10.0
"""How long the control plane may take to accept a report."""
_Message: Any = hds_pb2.HealthCheckRequestOrEndpointHealthResponse


class Refused(Exception):
    """The control plane has ended the stream of reports."""


class Reporter:
    """Reports for one Envoy to one control plane."""

    def __init__(
        self,
        admin: Admin,
        control_plane: ControlPlane,
        metrics: ReporterMetrics | None = None,
        *,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._admin = admin
        self._control_plane = control_plane
        self._metrics = metrics or ReporterMetrics()
        self._interval_s = interval_s
        self._clock = asyncio.get_running_loop().time
        self._reported = False

    async def run(self) -> None:
        """Report until cancelled, whatever Envoy or the control plane does.

        What was not foreseen is raised: the agent's supervisor then calls this again.
        """
        logged = ""
        for number in itertools.count():
            self._reported = False
            try:
                await self._session()
            except (AdminError, Refused, grpc.aio.AioRpcError, TimeoutError) as error:
                text = _text_of(error)
                # A warning once, and not at each try.
                level = logging.DEBUG if text == logged else logging.WARNING
                log.log(level, "Envoy's view of its endpoints is not reported: %s", text)
                logged = text
            finally:
                self._metrics.reporting.set(0)
            if self._reported:
                logged = ""
            self._metrics.restarts.inc()
            pause = MAX_PAUSE_S if number and not self._reported else FIRST_PAUSE_S
            await asyncio.sleep(pause)

    async def _session(self) -> None:
        node = await self._admin.node()
        if node is None:
            log.debug("Envoy has no configuration yet")
            return
        view = EdgeView()
        view.read_all(await self._admin.clusters(), self._clock())
        call = self._control_plane.report_stream()
        # Nothing is sent to the reporter. A read that is cancelled would end the call.
        ended = asyncio.ensure_future(call.read())
        try:
            await self._write(call, hello(node))
            await self._write(call, report(view.changes(self._clock()).clusters))
            self._reported = True
            self._metrics.reporting.set(1)
            log.info("the control plane is told what %s holds healthy", node.id)
            await self._follow(view, node, call, ended)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            code, details = await final_status(call)
            raise Refused(f"{code.name}: {details or error}") from error
        finally:
            call.cancel()
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)

    async def _follow(
        self, view: EdgeView, node: EdgeNode, call: Any, ended: asyncio.Future[Any]
    ) -> None:
        """Report what changes, until the control plane ends the stream."""
        heartbeat_at = self._clock() + HEARTBEAT_S
        while True:
            await asyncio.wait({ended}, timeout=self._interval_s)
            if ended.done():
                code, details = await final_status(call)
                raise Refused(f"the control plane has ended the stream: {code.name} {details}")
            await self._refresh(view)
            now = self._clock()
            changes = view.changes(now)
            if changes.start_over:
                await self._write(call, hello(node))
            if changes.start_over or changes.clusters or now >= heartbeat_at:
                await self._write(call, report(changes.clusters))
                heartbeat_at = now + HEARTBEAT_S

    async def _refresh(self, view: EdgeView) -> None:
        """Read from Envoy what may have changed."""
        names = view.clusters_to_read(await self._admin.gauges(), self._clock())
        if names is None:
            view.read_all(await self._admin.clusters(), self._clock())
        elif names:
            view.read_some(names, await self._admin.clusters(names), self._clock())

    async def _write(self, call: Any, message: Any) -> None:
        async with asyncio.timeout(WRITE_S):
            await call.write(message)
        self._metrics.reports.inc()


def hello(node: EdgeNode) -> Any:
    """Return the message that says whose reports follow, and that they start over."""
    message = _Message()
    message.health_check_request.node.id = node.id
    message.health_check_request.node.cluster = node.group
    return message


def report(clusters: Mapping[str, Cluster]) -> Any:
    """Return the report of what Envoy holds of these clusters.

    It is ordered by names and addresses, so that Envoys that hold the same send the same bytes.
    """
    message = _Message()
    message.endpoint_health_response.SetInParent()
    for name, cluster in sorted(clusters.items()):
        one = message.endpoint_health_response.cluster_endpoints_health.add(cluster_name=name)
        if cluster.endpoints:
            _add(one.locality_endpoints_health.add(), cluster.endpoints)
    return message


def _add(locality: Any, endpoints: Iterable[tuple[str, int, int]]) -> None:
    for host, port, status in sorted(endpoints):
        endpoint = locality.endpoints_health.add(health_status=status)
        if port:
            address = endpoint.endpoint.address.socket_address
            address.address, address.port_value = host, port
        else:
            endpoint.endpoint.address.pipe.path = host


def _text_of(error: Exception) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__
