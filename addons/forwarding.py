"""Sends a flow on as the edge would: which headers the cell gets, and which ones the client.

The compiler has Envoy write and remove headers (`control_plane.compiler.listener` and
`.header_hygiene`), and Envoy's connection manager has rules of its own. `admit` gives the request
without what the edge removes; the headers that the edge writes are added here. For example, a
client's

    GET /acme                       becomes  GET /acme
    Host: gitlab.example.com                 host: gitlab.example.com
    X-Cellway-Cell: cell-9                   x-forwarded-for: 192.0.2.7
    Connection: close, X-Secret              x-forwarded-proto: http
    X-Secret: 1                              x-request-id: 5b0c…
                                             x-envoy-external-address: 192.0.2.7
                                             x-cellway-cell: cell-2
                                             x-cellway-rule: path

`tests/addons/test_headers.py` compares with a real Envoy; docs/addon.md lists what differs.
"""

from __future__ import annotations

import json
import uuid
from http import HTTPStatus

from mitmproxy import ctx, http
from mitmproxy.proxy.mode_specs import UpstreamMode

from addons.remote import address_of
from control_plane.names import CELL_HEADER, INTERNAL_PREFIX, RULE_HEADER
from control_plane.routing.model import Request, Status, join_values
from control_plane.routing.outcomes import UNAVAILABLE

WITHOUT_BODY = frozenset({"GET", "HEAD", "DELETE", "TRACE", "CONNECT"})
"""Methods whose requests get no Content-Length if they have no body."""
_HOP_BY_HOP = ("keep-alive", "proxy-connection")


def send_to(
    flow: http.HTTPFlow, endpoint: str, path: bytes, headers: http.Headers, *, tls: bool
) -> None:
    """Direct a flow to a cell's endpoint, with the path and the headers that the cell is to get."""
    request = flow.request
    if request.data.authority and not isinstance(flow.client_conn.proxy_mode, UpstreamMode):
        # With an authority, mitmproxy would send the cell an absolute URL of its own address.
        request.authority = ""
    request.headers = headers
    host_header = headers["host"]
    request.scheme = "https" if tls else "http"
    request.host, request.port = address_of(endpoint)
    # With the host, mitmproxy has set the header, too.
    request.host_header = host_header
    request.data.path = path


def cell_headers(flow: http.HTTPFlow, admitted: Request, cell: str, rule: str) -> http.Headers:
    """Return the headers that the edge would send to the cell."""
    sent = flow.request.headers
    fields = [(b"host", admitted.authority)]
    fields += [(name.encode("latin-1"), value) for name, value in admitted.headers]
    headers = http.Headers(fields)
    client = flow.client_conn
    address = client.peername[0].removeprefix("::ffff:")
    forwarded = [value for name, value in sent.fields if name.lower() == b"x-forwarded-for"]
    headers["x-forwarded-for"] = join_values([*forwarded, address.encode()])
    headers["x-forwarded-proto"] = "https" if client.tls else "http"
    headers["x-request-id"] = str(uuid.uuid4())
    headers["x-envoy-external-address"] = address
    headers[CELL_HEADER], headers[RULE_HEADER] = cell, rule
    if "connection" in headers:
        # Only an upgrade keeps it, and it may nominate the headers above.
        headers["connection"] = "upgrade"
    # mitmproxy answers the one and frames the body by the other, and takes the first away itself.
    if sent.get("expect", "").lower() == "100-continue":
        headers["expect"] = "100-continue"
    if "transfer-encoding" in sent:
        headers["transfer-encoding"] = "chunked"
    return headers


def frame(request: http.Request) -> None:
    """Say how long the body is, as the edge does; it has been read as a whole, or is streamed."""
    if "content-length" in request.headers or "transfer-encoding" in request.headers:
        return
    if request.raw_content or request.stream:
        request.headers["transfer-encoding"] = "chunked"
    elif request.method not in WITHOUT_BODY:
        request.headers["content-length"] = "0"


def clean_response(response: http.Response) -> None:
    """Take off a cell's answer what the edge takes off."""
    headers = response.headers
    for name in {name for name in headers if name.lower().startswith(INTERNAL_PREFIX)}:
        del headers[name]
    for name in _HOP_BY_HOP:
        headers.pop(name, None)
    tokens = {token.strip().lower() for token in headers.get("connection", "").split(",")}
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        headers.pop("upgrade", None)
        headers.pop("connection", None)
        if "close" in tokens:
            # mitmproxy learns from it that it can't use the connection again.
            headers["connection"] = "close"


def refuse_misdirected(response: http.Response) -> None:
    """Make a 503 of a cell's 421, as the edge does where it can't ask again."""
    response.status_code = UNAVAILABLE.code
    response.reason = HTTPStatus.SERVICE_UNAVAILABLE.phrase
    response.headers["retry-after"] = str(UNAVAILABLE.retry_after)


def answer(flow: http.HTTPFlow, refusal: Status, reason: str) -> None:
    """Answer a flow in the cell's place, in the edge's form (RFC 9457).

    A flow whose body mitmproxy streams can't be answered: mitmproxy would fail over it and leave
    the client waiting. Its connection is closed.
    """
    if _may_stream(flow.request):
        flow.kill()
        return
    document = {"status": refusal.code, "title": f"cellway: {reason}"}
    headers = {"content-type": "application/problem+json"}
    if refusal.retry_after is not None:
        headers["retry-after"] = str(refusal.retry_after)
    flow.response = http.Response.make(refusal.code, json.dumps(document) + "\n", headers)


def _may_stream(request: http.Request) -> bool:
    """Return whether mitmproxy streams the body, or may do so once more of it has come."""
    if request.stream or not ctx.options.stream_large_bodies:
        return bool(request.stream)
    if "content-length" in request.headers:
        return False
    return "transfer-encoding" in request.headers or (
        not request.is_http11 and request.method not in WITHOUT_BODY
    )
