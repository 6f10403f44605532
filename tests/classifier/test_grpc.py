"""Envoy's question over gRPC as a request: raw headers, and those of Envoys that send none."""

from __future__ import annotations

from envoy.service.auth.v3 import external_auth_pb2

from control_plane.classifier.grpc import request_of
from control_plane.routing.model import Request


def test_raw_headers_come_first() -> None:
    check = external_auth_pb2.CheckRequest()
    http = check.attributes.request.http
    http.method, http.host, http.path = "PUT", "www.example", "/decoded"
    for name, raw in ((":path", b"/raw?\xff"), (":method", b"PUT"), ("cookie", b"a=\xfe")):
        http.header_map.headers.add(key=name, raw_value=raw)
    http.header_map.headers.add(key="x-plain", value="v")
    assert request_of(check) == Request(
        "PUT", b"www.example", b"/raw?\xff", (("cookie", b"a=\xfe"), ("x-plain", b"v"))
    )


def test_without_raw_headers_the_map_of_text_is_read() -> None:
    check = external_auth_pb2.CheckRequest()
    http = check.attributes.request.http
    http.method, http.host, http.path = "GET", "www.example", "/path"
    http.headers.update({":path": "/header", ":authority": "www.example", "cookie": "a=b"})
    assert request_of(check) == Request("GET", b"www.example", b"/header", (("cookie", b"a=b"),))
    del http.headers[":path"]
    assert request_of(check).path == b"/path"
