"""Sends the same request to the real edge and to its model, and reports where they differ."""

from __future__ import annotations

from typing import Self

from control_plane.names import INTERNAL_PREFIX
from control_plane.routing.admission.admit import HttpVersion, Refused, admit
from control_plane.routing.admission.headers import WRITTEN_BY_EDGE
from tests.e2e.echo_upstream import ECHO_HEADER, Arrived, EchoUpstream
from tests.e2e.edge_requests import RawRequest
from tests.support.raw_http import RawConnection, RawResponse, request_bytes
from tests.support.raw_http2 import Http2Refusal, RawHttp2Connection

# Written by the router filter and the upstream codec, after routing.
WRITTEN_LATER = frozenset(
    {"content-length", "host", "transfer-encoding", "x-envoy-expected-rq-timeout-ms"}
)

Seen = Arrived | int | None
"""What reached the upstream, or the status that the edge answered, or None for no answer."""


class EdgeClient:
    """A client of one edge that keeps its connections; used with `with`."""

    def __init__(self, address: tuple[str, int], upstream: EchoUpstream) -> None:
        self.address = address
        self.upstream = upstream
        self._http1: RawConnection | None = None
        self._http2: RawHttp2Connection | None = None

    def send(self, request: RawRequest, version: HttpVersion = HttpVersion.HTTP_1_1) -> Seen:
        """Send the request; return what reached the upstream or what the edge answered."""
        sent = self._send_http2(request) if version is HttpVersion.HTTP_2 else self._send(request)
        if not isinstance(sent, RawResponse):
            return None
        if sent.header(ECHO_HEADER) is None:
            return sent.status
        return Arrived.parse(self.upstream.last_head)

    def difference(
        self, request: RawRequest, version: HttpVersion = HttpVersion.HTTP_1_1
    ) -> str | None:
        """Return where the edge and its model differ about the request; None if they agree."""
        seen = self.send(request, version)
        model = admit(
            request.method, request.target, request.host, request.headers, version=version
        )
        both = f"{request}\n  model: {model}\n  edge: {seen}"
        if isinstance(seen, Arrived):
            forwarded = [field for field in seen.headers if field[0] not in WRITTEN_LATER]
            if any(name.startswith(INTERNAL_PREFIX) for name, _ in forwarded):
                return f"an internal header came through: {both}"
            if isinstance(model, Refused):
                return both
            fields = [field for field in forwarded if field[0] not in WRITTEN_BY_EDGE]
            expected = [field for field in model.headers if field[0] not in WRITTEN_LATER]
            left = (seen.method, seen.authority, seen.path, fields)
            return None if left == (model.method, model.authority, model.path, expected) else both
        agreed = isinstance(model, Refused) and (seen is None or seen == model.status)
        return None if agreed else both

    def _send(self, request: RawRequest) -> RawResponse | None:
        if self._http1 is None:
            self._http1 = RawConnection(self.address)
        data = request_bytes(
            request.target, request.headers, method=request.method, host=request.host
        )
        response = self._http1.exchange(data)
        if response is None or response.closes:
            self._http1.close()
            self._http1 = None
        return response

    def _send_http2(self, request: RawRequest) -> RawResponse | Http2Refusal:
        if self._http2 is None:
            self._http2 = RawHttp2Connection(self.address)
        response = self._http2.exchange(http2_block(request))
        if self._http2.ended:
            self._http2.close()
            self._http2 = None
        return response

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in (self._http1, self._http2):
            if connection is not None:
                connection.close()


def http2_block(request: RawRequest) -> list[tuple[bytes, bytes]]:
    """Return a request's header block; CONNECT without a path has no `:scheme` and no `:path`."""
    tunnel = request.method == "CONNECT" and not request.target
    block = [(b":method", request.method.encode())]
    if not tunnel:
        block += [(b":scheme", b"http"), (b":path", request.target)]
    if request.host is not None:
        block.append((b":authority", request.host))
    return block + [(name.encode("latin-1"), value) for name, value in request.headers]
