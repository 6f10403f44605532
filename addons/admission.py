"""The request that a flow of mitmproxy stands for, as the edge would admit it."""

from __future__ import annotations

from mitmproxy import http
from mitmproxy.net.http.url import hostport
from mitmproxy.proxy.mode_specs import RegularMode

from control_plane.routing.admission.admit import HttpVersion, Refused, admit
from control_plane.routing.model import Request

UPGRADE_REQUIRED = 426
"""The status that Envoy gives to HTTP/1.0."""


def admitted(flow: http.HTTPFlow) -> Request | Refused:
    """Return the request as the edge would admit it, or why the edge would refuse it."""
    request = flow.request
    # mitmproxy's own `method` is in upper case, whatever the client sent.
    method, path = request.data.method.decode("latin-1"), request.data.path
    fields = [(name.decode("latin-1"), value) for name, value in request.headers.fields]
    if request.is_http2 or request.is_http3:
        authority = request.data.authority or None
        return admit(method, path, authority, fields, version=HttpVersion.HTTP_2)
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
