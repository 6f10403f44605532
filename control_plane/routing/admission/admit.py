"""What the edge does to a raw request before routing, for those who see it without an Envoy.

`explain`, `simulate` and the mitmproxy addon get from `admit` the request that Envoy's router and
the classifier get, or learn that the edge refuses it. The model is of Envoy 1.40 with the
connection manager that `control_plane.compiler.listener` makes; `tests/e2e/test_edge_admission.py`
compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from control_plane.routing.admission.headers import (
    Header,
    forwarded_fields,
    read_http1_fields,
    read_http2_fields,
)
from control_plane.routing.admission.path import normalise_path
from control_plane.routing.admission.refusal import BAD_REQUEST, HEADERS_TOO_LARGE, EdgeRefusal
from control_plane.routing.admission.target import (
    Target,
    check_http1_authority,
    check_http1_line,
    check_http2_authority,
    check_routable,
    read_http1_target,
    read_http2_path,
)
from control_plane.routing.model import Request, join_values

MAX_HEAD_BYTES = 60 * 1024
"""`max_request_headers_kb`: HTTP/1.1 counts the head as sent, HTTP/2 names and values."""

_REQUEST_LINE_EXTRA = len(b"  HTTP/1.1\r\n")
_FIELD_EXTRA = len(b": \r\n")
_HEAD_END = len(b"\r\n")
_PSEUDO_NAMES = len(b":method:scheme:authority:path")

Admitted = Request
"""An admitted request is what the evaluator decides on."""


class HttpVersion(Enum):
    """The protocol a request came by; the edge's two codecs do not accept the same."""

    HTTP_1_1 = "HTTP/1.1"
    HTTP_2 = "HTTP/2"


@dataclass(frozen=True, slots=True)
class Refused:
    """The edge answers by itself.

    If its codec refuses an HTTP/2 request, the client sees no ``status`` but a reset stream or a
    closed connection.
    """

    status: int
    reason: str


def admit(
    method: str,
    target: bytes,
    authority: bytes | None,
    headers: Sequence[Header],
    *,
    version: HttpVersion = HttpVersion.HTTP_1_1,
    tls: bool = False,
) -> Admitted | Refused:
    """Return the request as it is after the edge, ready for the evaluator, or the edge's refusal.

    Neither the body nor trailers are looked at, so a Content-Length that the body belies is
    admitted. `admit` of an admitted request gives it back unchanged, unless encoding its path made
    it outgrow `MAX_HEAD_BYTES`.

    Args:
        target: The request line's target, in any form, or ``:path``.
        authority: The Host header's value or ``:authority``; None if there was none.
        headers: The client's, in order, names in any case; those called ``host`` count as further
            Host headers.

    Returns:
        A request without the headers that the edge writes itself (`headers.WRITTEN_BY_EDGE`).
    """
    try:
        if version is HttpVersion.HTTP_2:
            return _admit_http2(method, target, authority, headers, tls=tls)
        return _admit_http1(method, target, authority, headers, tls=tls)
    except EdgeRefusal as refusal:
        return Refused(refusal.status, refusal.reason)


def _admit_http1(
    method: str, raw_target: bytes, authority: bytes | None, headers: Sequence[Header], *, tls: bool
) -> Request:
    fields = [*_host_field(authority), *headers]
    size = sum(len(name) + len(value) + _FIELD_EXTRA for name, value in fields)
    _check_size(size + len(method) + len(raw_target) + _REQUEST_LINE_EXTRA + _HEAD_END)
    check_http1_line(method, raw_target)
    fields = read_http1_fields(method, fields)
    target = read_http1_target(method, raw_target, tls=tls)
    if target.authority is not None:
        others = [field for field in fields if field[0] != "host"]
        fields = [*_host_field(target.authority), *others]
    hosts = [value for name, value in fields if name == "host"]
    host = join_values(hosts) if hosts else None
    if host is not None:
        check_http1_authority(host)
    return _route(method, target, host, fields)


def _admit_http2(
    method: str, path: bytes, authority: bytes | None, headers: Sequence[Header], *, tls: bool
) -> Request:
    fields = read_http2_fields(headers)
    hosts = [value for name, value in fields if name == "host"]
    if len(hosts) > 1:
        raise EdgeRefusal(BAD_REQUEST, "more than one host header")
    for one in [*hosts, *([authority] if authority is not None else [])]:
        check_http2_authority(one)
    host = authority if authority is not None else next(iter(hosts), None)
    size = sum(len(name) + len(value) for name, value in headers) + _PSEUDO_NAMES
    scheme = "https" if tls else "http"
    _check_size(size + len(method) + len(scheme) + len(authority or b"") + len(path))
    return _route(method, read_http2_path(method, path), host, fields)


def _route(method: str, target: Target, host: bytes | None, fields: Sequence[Header]) -> Request:
    if host is None:
        raise EdgeRefusal(BAD_REQUEST, "no Host header")
    check_routable(target.path)
    path = normalise_path(target.path)
    if method == "QUERY" and not dict(fields).get("content-type"):
        raise EdgeRefusal(BAD_REQUEST, "QUERY without a Content-Type")
    others = [field for field in fields if field[0] != "host"]
    return Request(method, host, path, forwarded_fields(others))


def _host_field(authority: bytes | None) -> list[Header]:
    return [] if authority is None else [("host", authority)]


def _check_size(size: int) -> None:
    if size > MAX_HEAD_BYTES:
        raise EdgeRefusal(
            HEADERS_TOO_LARGE, f"the request head has more than {MAX_HEAD_BYTES} bytes"
        )
