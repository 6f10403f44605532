"""mitmproxy addon that sends each flow to the cell that Envoy would choose, and says why.

    mitmdump -s "$(cellway addon-path)" --set cellway_server=http://127.0.0.1:8000

`control_plane.routing` decides here too, with the cells, active ruleset and claims that the
server's REST API gives. The decision stands in the flow's metadata (``cellway.decision``) and, as
one line, in its comment, for example ``cell-3 by user: username:bob is claimed by cell-3``. With
``--set cellway_mode=observe`` the flow only gets these and goes where it would have gone anyway.

A flow that can't be decided, for example because the server does not answer, gets 503: the addon
never guesses.
"""

from __future__ import annotations

import logging
import random
import re
import sys
import time
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from mitmproxy import ctx, exceptions, http
from mitmproxy.addonmanager import Loader
from mitmproxy.net.http.url import hostport
from mitmproxy.proxy.mode_specs import RegularMode, UpstreamMode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from addons.remote import Edge, RemoteCell, remote_cell
from control_plane.names import INTERNAL_PREFIX
from control_plane.routing.admission.admit import HttpVersion, Refused, admit
from control_plane.routing.evaluate import steps
from control_plane.routing.explain import refused_decision
from control_plane.routing.model import Cells, ClaimKey, Decision, Request, Status, ToCell
from control_plane.routing.rules.parse import parse

log = logging.getLogger(__name__)
METADATA_KEY = "cellway.decision"
RETRY_AFTER_S = "5"
MODES = ("route", "observe")
_TOKEN = re.compile(r"[\x21-\x7e]+\Z")
UPGRADE_REQUIRED = 426
"""The status that Envoy gives to HTTP/1.0."""


class CannotDecide(Exception):
    """The server's answers lack something that a decision needs."""


class CellwayRouter:
    """The addon. It caches cells and ruleset for ``cellway_refresh_s`` seconds, and no claims."""

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None
        self._edge: Edge | None = None

    def load(self, loader: Loader) -> None:
        """Declare the options."""
        loader.add_option("cellway_server", str, "http://127.0.0.1:8000", "URL of the cellway API")
        loader.add_option("cellway_token", str | None, None, "token for the API, if it needs one")
        loader.add_option("cellway_mode", str, "route", "route, or observe (only say which cell)")
        loader.add_option("cellway_timeout_ms", int, 2000, "how long the API may take to answer")
        loader.add_option("cellway_refresh_s", int, 2, "how long cells and ruleset are cached")

    def configure(self, updated: set[str]) -> None:  # noqa: ARG002 - mitmproxy's signature
        """Check the options.

        Raises:
            OptionsError: one is wrong; the text says what it should be.
        """
        if ctx.options.cellway_mode not in MODES:
            raise exceptions.OptionsError(f"cellway_mode must be one of {', '.join(MODES)}")
        if not ctx.options.cellway_server.startswith(("http://", "https://")):
            raise exceptions.OptionsError(
                "cellway_server must be a URL such as http://127.0.0.1:8000"
            )
        token = ctx.options.cellway_token
        if token is not None and not _TOKEN.match(token):
            raise exceptions.OptionsError(
                "cellway_token is empty or no token: set it, or leave it out"
            )
        if ctx.options.cellway_timeout_ms < 1:
            raise exceptions.OptionsError("cellway_timeout_ms must be a positive number")
        self._edge = None

    async def done(self) -> None:
        """Close the connections to the server."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Decide when the headers are complete: streamed uploads are routed too."""
        if flow.response is not None or flow.error is not None:
            return
        try:
            document = await self._decide(flow)
        except (CannotDecide, httpx.HTTPError, KeyError, ValueError) as error:
            document = {"cell": None, "reason": f"not decided: {error}", "trace": []}
            if ctx.options.cellway_mode == "route":
                flow.response = http.Response.make(
                    503, f"cellway: {document['reason']}\n", {"retry-after": RETRY_AFTER_S}
                )
        flow.metadata[METADATA_KEY] = document
        flow.comment = _line(document)

    async def _decide(self, flow: http.HTTPFlow) -> dict[str, Any]:
        request = _admitted(flow)
        if isinstance(request, Refused):
            decision = refused_decision(request)
            self._answer(flow, request.status, decision.reason)
            return _document(decision)
        edge = await self._fresh_edge()
        decision = await self._evaluate(edge, request)
        document = _document(decision)
        outcome = decision.outcome
        if isinstance(outcome, Status):
            self._answer(flow, outcome.code, decision.reason)
            return document
        if isinstance(outcome, ToCell):
            cell = outcome.cell
        else:
            names, weights = zip(*outcome.choices, strict=True)
            cell = random.choices(names, weights)[0]  # noqa: S311 - spreads load, guards nothing
        document["cell"] = cell
        if ctx.options.cellway_mode == "route":
            _send_to(flow, edge.cells_by_name[cell], request)
        return document

    def _answer(self, flow: http.HTTPFlow, status: int, reason: str) -> None:
        if ctx.options.cellway_mode == "route":
            headers = {"retry-after": RETRY_AFTER_S} if status in {429, 503} else {}
            flow.response = http.Response.make(status, f"cellway: {reason}\n", headers)

    async def _evaluate(self, edge: Edge, request: Request) -> Decision:
        evaluation = steps(edge.ruleset, request, edge.cells)
        try:
            keys = next(evaluation)
            while True:
                keys = evaluation.send([await self._owner(key) for key in keys])
        except StopIteration as end:
            decision: Decision = end.value
            return decision

    async def _owner(self, key: ClaimKey) -> int | None:
        bucket, value = key
        # Dots are quoted too: a value may be "..", which a URL's path takes as a step up.
        segment = urllib.parse.quote(value, safe="").replace(".", "%2E")
        response = await self._get(f"/v1/claims/{bucket}/{segment}")
        # The API answers 422 to a value that can't be claimed: no cell owns it.
        if response.status_code in {404, 422}:
            return None
        response.raise_for_status()
        return int(response.json()["cell_id"])

    async def _fresh_edge(self) -> Edge:
        edge = self._edge
        if edge is not None and time.monotonic() - edge.read_at < ctx.options.cellway_refresh_s:
            return edge
        active = (await self._get("/v1/rulesets/active")).raise_for_status().json()
        if "document" not in active:
            raise CannotDecide("no ruleset is active")
        items = (await self._get("/v1/cells")).raise_for_status().json()["items"]
        remote = [remote_cell(item) for item in items]
        self._edge = Edge(
            Cells(remote),
            {cell.name: cell for cell in remote},
            parse(active["document"]),
            time.monotonic(),
        )
        return self._edge

    async def _get(self, path: str) -> httpx.Response:
        """Send a GET to the API. Each request reads the options anew, as they may change."""
        if self._client is None:
            self._client = httpx.AsyncClient(trust_env=False)
        token = ctx.options.cellway_token
        return await self._client.get(
            ctx.options.cellway_server.rstrip("/") + path,
            headers={"authorization": f"Bearer {token}"} if token is not None else {},
            timeout=ctx.options.cellway_timeout_ms / 1000,
        )


def _admitted(flow: http.HTTPFlow) -> Request | Refused:
    """Return the request as the edge would admit it, or why the edge would refuse it."""
    request = flow.request
    # mitmproxy's own `method` is in upper case, whatever the client sent.
    method, path = request.data.method.decode("latin-1"), request.data.path
    fields = [(name.decode("latin-1"), value) for name, value in request.headers.fields]
    if request.is_http2 or request.is_http3:
        return admit(
            method, path, request.data.authority or None, fields, version=HttpVersion.HTTP_2
        )
    if not request.is_http11:
        return Refused(UPGRADE_REQUIRED, f"{request.http_version} is not served")
    authority = request.data.authority or _proxied_authority(flow)
    return admit(method, b"http://" + authority + path if authority else path, None, fields)


def _proxied_authority(flow: http.HTTPFlow) -> bytes:
    """Return the authority of the absolute URL that a client sent to a regular proxy.

    It takes precedence over the Host header (RFC 9112, section 3.2.2). mitmproxy has split the URL,
    so the authority is put together again here. Return nothing if it is the same as the Host
    header, which still has the client's own spelling, and in a tunnel, where the client sent no
    such URL.
    """
    request = flow.request
    tunnelled = flow.server_conn.address is not None
    if not isinstance(flow.client_conn.proxy_mode, RegularMode) or tunnelled or flow.is_replay:
        return b""
    name = request.host.encode("idna").decode("ascii")
    host = f"[{name}]" if ":" in name else name
    authority = hostport("http", host, request.port)
    is_in_host_header = request.host_header in {authority, f"{host}:{request.port}"}
    return b"" if is_in_host_header else authority.encode("ascii")


def _send_to(flow: http.HTTPFlow, cell: RemoteCell, admitted: Request) -> None:
    """Send the flow to one of the cell's endpoints, with the host and path that were decided on.

    The cell does not get internal headers that the client sent.
    """
    request = flow.request
    for name in {name for name in request.headers if name.lower().startswith(INTERNAL_PREFIX)}:
        del request.headers[name]
    if request.data.authority and not isinstance(flow.client_conn.proxy_mode, UpstreamMode):
        # With an authority, mitmproxy would send the cell an absolute URL of its own address.
        request.authority = ""
    host, _, port = random.choice(cell.endpoints).rpartition(":")  # noqa: S311 - spreads load
    request.scheme = "https" if cell.tls else "http"
    request.host = host.strip("[]")
    request.port = int(port)
    request.host_header = admitted.authority
    request.path = admitted.path


def _document(decision: Decision) -> dict[str, Any]:
    """Return a decision in types that a flow file can hold."""
    status = decision.outcome.code if isinstance(decision.outcome, Status) else None
    return {
        "cell": decision.cell,
        "status": status,
        "rule": decision.rule,
        "key": decision.key,
        "reason": decision.reason,
        "trace": [[step.rule, step.result, step.why] for step in decision.trace],
    }


def _line(document: dict[str, Any]) -> str:
    target = document["cell"] or document.get("status") or "?"
    return f"{target} by {document.get('rule') or '-'}: {document['reason']}"


addons: Sequence[object] = [CellwayRouter()]
