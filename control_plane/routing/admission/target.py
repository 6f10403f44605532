"""Request targets and authorities as the edge's codecs read them (RFC 9112 section 3.2)."""

from __future__ import annotations

import re
from typing import NamedTuple

from control_plane.routing.admission.refusal import BAD_REQUEST, FORBIDDEN, NOT_FOUND, EdgeRefusal

HTTP1_METHODS = frozenset(
    {
        *("ACL", "BIND", "CHECKOUT", "CONNECT", "COPY", "DELETE", "GET", "HEAD", "LINK", "LOCK"),
        *("MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MOVE", "MSEARCH", "NOTIFY", "OPTIONS"),
        *("PATCH", "POST", "PROPFIND", "PROPPATCH", "PURGE", "PUT", "QUERY", "REBIND", "REPORT"),
        *("SEARCH", "SOURCE", "SUBSCRIBE", "TRACE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE"),
    }
)
"""What Envoy's HTTP/1.1 codec takes without `allow_custom_methods`; in capitals only."""

MAX_PORT = 65535

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
# Userinfo may hold "@", but no two in a row.
_LINE_HOST = rb"(?:(?!@@)[A-Za-z0-9!$%&'()*+,\-.:;=@\[\]_~])*"
_LINE = re.compile(rb"[/*][!-~]*|[A-Za-z][A-Za-z0-9+.\-]*://" + _LINE_HOST + rb"(?:[/?][!-~]*)?")
_CONNECT_LINE = re.compile(rb"(?=.)(?:\*[!-~]*|" + _LINE_HOST + rb"(?:[/?][!-~]*)?)")
_HTTP2_PATH = re.compile(rb"/[!-~\x80-\xff]*")
_URL = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?]*)([!-~]*)")
_HOST_PORT = re.compile(
    rb"(?:[A-Za-z0-9\-_.!~*'()%;:&=+$,]*@)?"
    rb"(?P<kept>(?:[A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\])(?::0*(?P<port>[0-9]{1,5}))?)"
)
_HTTP1_AUTHORITY = re.compile(rb"[A-Za-z0-9!$%&'()*+,\-.:;=@\[\]_~]*")
_HTTP2_AUTHORITY = re.compile(rb"[A-Za-z0-9!$%&'()*+,\-.:;=\[\]_~]+")


class Target(NamedTuple):
    """What a request target says: the path, and the authority if the target names one."""

    path: bytes
    authority: bytes | None


def check_http1_line(method: str, target: bytes) -> None:
    """Refuse a request line after which the HTTP/1.1 codec does not even read the headers."""
    if method not in HTTP1_METHODS:
        raise EdgeRefusal(BAD_REQUEST, f"unknown method {method!r}")
    form = _CONNECT_LINE if method == "CONNECT" else _LINE
    if not form.fullmatch(target):
        raise EdgeRefusal(BAD_REQUEST, "the request target is neither a path nor a URL")


def read_http1_target(method: str, target: bytes, *, tls: bool) -> Target:
    """Read the target of a checked HTTP/1.1 request line.

    The authority of an absolute-form target replaces the Host header (RFC 9112 section 3.2.2) and
    loses its userinfo. CONNECT is understood but never routed.

    Raises:
        EdgeRefusal: the edge does not serve such a target.
    """
    if method == "CONNECT":
        _host_port(target, port_needed=True)
        raise EdgeRefusal(NOT_FOUND, "CONNECT is not routed")
    if target.startswith(b"/") or (method == "OPTIONS" and target.startswith(b"*")):
        return Target(target, None)
    return _absolute_form(target, tls=tls)


def read_http2_path(method: str, path: bytes) -> Target:
    """Check ``:method`` and ``:path`` (RFC 9113 section 8.3.1), or raise `EdgeRefusal`."""
    if not _TOKEN.fullmatch(method):
        raise EdgeRefusal(BAD_REQUEST, f"invalid method {method!r}")
    if method == "CONNECT" and not path:
        raise EdgeRefusal(NOT_FOUND, "CONNECT is not routed")
    if method == "CONNECT" or not (
        _HTTP2_PATH.fullmatch(path) or (method == "OPTIONS" and path == b"*")
    ):
        raise EdgeRefusal(BAD_REQUEST, "the path is not one that HTTP/2 allows for this method")
    return Target(path, None)


def check_routable(path: bytes) -> None:
    """Refuse what has no path to route by: "*", and an absolute form with nothing but a query."""
    if not path.startswith(b"/"):
        raise EdgeRefusal(NOT_FOUND, "the request target has no path")


def check_http1_authority(authority: bytes) -> None:
    """Refuse a Host with bytes that no authority has; an empty Host is let through."""
    if not _HTTP1_AUTHORITY.fullmatch(authority):
        raise EdgeRefusal(BAD_REQUEST, "the Host header has a byte that no authority has")


def check_http2_authority(authority: bytes) -> None:
    """Refuse an empty ``:authority``, userinfo, and bytes that no authority has."""
    if not _HTTP2_AUTHORITY.fullmatch(authority):
        raise EdgeRefusal(BAD_REQUEST, "the authority is empty or has a byte that none has")


def _absolute_form(target: bytes, *, tls: bool) -> Target:
    url = _URL.fullmatch(target)
    if url is None:
        raise EdgeRefusal(BAD_REQUEST, "the request target is neither a path nor a URL")
    authority = _host_port(url[2])
    scheme = url[1].lower()
    if scheme not in {b"http", b"https"}:
        raise EdgeRefusal(BAD_REQUEST, "the request target's scheme is neither http nor https")
    if scheme == b"https" and not tls:
        raise EdgeRefusal(FORBIDDEN, "the request target says https on a connection without TLS")
    return Target(url[3] or b"/", authority)


def _host_port(text: bytes, *, port_needed: bool = False) -> bytes:
    match = _HOST_PORT.fullmatch(text)
    port = match["port"] if match else None
    if match is None or int(port or b"0") > MAX_PORT or (port_needed and port is None):
        raise EdgeRefusal(BAD_REQUEST, "the request target names no valid host and port")
    return match["kept"]
