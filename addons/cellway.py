"""mitmproxy addon that sends each flow to the cell that the edge would choose, and says why.

    mitmdump -s "$(cellway addon-path)" --mode reverse:http://127.0.0.1:1

`control_plane.routing` decides here too, with the cells, active ruleset and claims that the
server's REST API gives. Each decision is a line of mitmproxy's log (`addons.decision_line`). It
also stands in the flow's metadata (``cellway.decision``) and in its comment. With
``--set cellway_mode=observe`` the flow only gets these and goes where it would have gone anyway.

A flow that can't be decided, for example because the server does not answer, gets 503: the addon
never guesses. docs/addon.md says how to use it.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from mitmproxy import ctx, exceptions, http
from mitmproxy.addonmanager import Loader
from mitmproxy.net.http.url import hostport
from mitmproxy.proxy.mode_specs import ReverseMode, UpstreamMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from addons import forwarding, proxy_options
from addons.admission import admitted
from addons.cellway_api import CannotDecide, CellwayApi
from addons.decider import Decider, Verdict, refused, undecided
from addons.decision_line import shown_reason, shown_target
from addons.endpoints import CellDown, reachable, shuffled
from control_plane.foreign_text import visible
from control_plane.routing.admission.admit import Refused
from control_plane.routing.model import Request, Status
from control_plane.routing.outcomes import UNAVAILABLE

log = logging.getLogger(__name__)
METADATA_KEY = "cellway.decision"
# They log each request with its URL, in which there are claims.
for noisy in ("httpx", "httpcore"):
    logging.getLogger(noisy).setLevel(logging.WARNING)


class CellwayRouter:
    """The addon."""

    def __init__(self) -> None:
        self._api = CellwayApi()
        self._decider = Decider(self._api)
        self._is_running = False
        self._taken_over: list[str] = []

    def load(self, loader: Loader) -> None:
        """Declare the options, and set those of mitmproxy that the addon needs."""
        for problem in proxy_options.take_unreadable(ctx.options.deferred):
            log.error("cellway: %s", visible(problem))
        proxy_options.declare(loader)
        self._taken_over = proxy_options.take_defaults_over(ctx.options)

    def configure(self, updated: set[str]) -> None:  # noqa: ARG002 - mitmproxy's signature
        """Check the options.

        Raises:
            OptionsError: one is wrong; the text says what it should be.
        """
        problem = proxy_options.problem(ctx.options)
        if problem is not None and self._is_running:
            raise exceptions.OptionsError(problem)
        if problem is not None:
            # At its start mitmproxy shows an OptionsError of a script as a traceback. It ends
            # after a line of this level.
            log.error("cellway: %s", visible(problem))
        self._decider.forget()

    async def running(self) -> None:
        """Say what the addon decides by, or why it can't."""
        self._is_running = True
        for problem in proxy_options.misspelt(ctx.options.deferred):
            log.error("cellway: %s", visible(problem))
        if self._taken_over:
            log.info("cellway: set %s, which it needs", ", ".join(self._taken_over))
        try:
            edge = await self._decider.fresh_edge()
        except CannotDecide as error:
            log.warning("cellway: requests can't be decided now: %s", visible(str(error)))
            return
        what = "routes" if _is_routing() else "only observes"
        text = "cellway: %s by %s: ruleset %s, %d cells"
        log.info(text, what, self._api.server, edge.version, len(edge.cells.all))

    async def done(self) -> None:
        """Close the connections to the server."""
        await self._api.close()

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Decide when the headers are complete: streamed uploads are routed too."""
        if flow.response is not None or flow.error is not None:
            return
        began = time.monotonic()
        request = admitted(flow)
        verdict = await self._verdict(request)
        document = verdict.document()
        target = verdict.cell.name if verdict.cell is not None else document["status"]
        flow.metadata[METADATA_KEY] = document
        flow.comment = f"{target} by {document['rule'] or '-'}: {document['reason']}"
        where = f"would go to {target}"
        if _is_routing():
            where = await _route(flow, request, verdict)
        elif isinstance(flow.client_conn.proxy_mode, ReverseMode):
            self._replace_host(flow)
        _log_decision(flow, request, verdict, where, time.monotonic() - began)

    async def request(self, flow: http.HTTPFlow) -> None:
        """Say how long the body is that the cell gets."""
        if _is_routed(flow):
            forwarding.frame(flow.request)

    async def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Clean what a cell answers."""
        if not _is_routed(flow) or flow.response is None:
            return
        forwarding.clean_response(flow.response)
        is_misdirected = flow.response.status_code == HTTPStatus.MISDIRECTED_REQUEST
        if is_misdirected and flow.metadata[METADATA_KEY]["lookups"]:
            forwarding.refuse_misdirected(flow.response)
            log.warning("cellway: %s answered 421", flow.metadata[METADATA_KEY]["cell"])

    async def error(self, flow: http.HTTPFlow) -> None:
        """Say which cell's connection has failed."""
        if _is_routed(flow) and flow.error is not None:
            text = "cellway: %s at %s failed: %s%s"
            document, why = flow.metadata[METADATA_KEY], flow.error.msg
            is_trust = "certificate verify failed" in why.lower()
            hint = " (set ssl_verify_upstream_trusted_ca to its authority)" if is_trust else ""
            log.warning(text, document["cell"], document["endpoint"], visible(why), hint)

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """Speak TLS to a cell as the edge does: HTTP/1.1, with the cell's own name."""
        edge, server = self._decider.edge, data.server
        if edge is None or server.address is None or not _is_routing():
            return
        name = edge.server_name((server.address[0], server.address[1]))
        if name is not None:
            server.sni = name
            server.alpn_offers = (b"http/1.1",)

    async def _verdict(self, request: Request | Refused) -> Verdict:
        problem = proxy_options.problem(ctx.options)
        if problem is not None:
            return undecided(problem)
        if isinstance(request, Refused):
            return refused(request)
        try:
            return await self._decider.decide(request)
        except CannotDecide as error:
            return undecided(str(error))

    def _replace_host(self, flow: http.HTTPFlow) -> None:
        """Replace the Host header as mitmproxy does where nobody has set keep_host_header."""
        server = flow.server_conn
        if server.address is not None and "keep_host_header=true" in self._taken_over:
            scheme = "https" if server.tls else "http"
            flow.request.host_header = hostport(scheme, server.address[0], server.address[1])


def _is_routing() -> bool:
    return bool(ctx.options.cellway_mode != "observe")


def _is_routed(flow: http.HTTPFlow) -> bool:
    """Return whether the addon has sent a flow to a cell."""
    return "endpoint" in flow.metadata.get(METADATA_KEY, {})


async def _route(flow: http.HTTPFlow, request: Request | Refused, verdict: Verdict) -> str:
    """Send a flow to its cell, or answer it; return where it went, for people."""
    if verdict.refusal is not None:
        forwarding.answer(flow, verdict.refusal, verdict.decision.reason)
        return str(verdict.refusal.code)
    assert verdict.cell is not None
    assert isinstance(request, Request)
    cell = verdict.cell
    try:
        is_direct = not isinstance(flow.client_conn.proxy_mode, UpstreamMode)
        endpoint = await reachable(cell) if is_direct else shuffled(cell)[0]
    except CellDown as error:
        # The edge gives no Retry-After here.
        forwarding.answer(flow, Status(UNAVAILABLE.code), str(error))
        return f"{UNAVAILABLE.code}, as {error}"
    headers = forwarding.cell_headers(flow, request, cell.name, verdict.decision.rule or "")
    forwarding.send_to(flow, endpoint, request.path, headers, tls=cell.server_name is not None)
    flow.metadata[METADATA_KEY]["endpoint"] = endpoint
    return f"{cell.name} at {endpoint}"


def _log_decision(
    flow: http.HTTPFlow, request: Request | Refused, verdict: Verdict, where: str, took_s: float
) -> None:
    if isinstance(request, Request):
        target = shown_target(request.method, request.authority, request.path)
    else:
        data = flow.request.data
        host = (flow.request.host_header or "").encode("utf-8", "surrogateescape")
        target = shown_target(data.method.decode("latin-1"), host, data.path)
    by = f" by {verdict.decision.rule}" if verdict.decision.rule is not None else ""
    reason = shown_reason(verdict.decision, verdict.edge)
    level = logging.WARNING if verdict.undecided else logging.INFO
    text = "cellway: %s -> %s%s: %s (%d look-ups, %.1f ms)"
    log.log(level, text, target, visible(where), by, reason, verdict.lookups, took_s * 1000)


addons: Sequence[object] = [CellwayRouter()]
