"""The largest input that each operation of a control plane takes, or just refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from envoy.service.auth.v3 import external_auth_pb2
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.status.v3 import csds_pb2

from control_plane.api.middleware.body_limit import MAX_BODY_BYTES, MAX_JSON_VALUES
from control_plane.grpc_api.generated import (
    cell_service_pb2,
    claim_service_pb2,
    classify_service_pb2,
    health_service_pb2,
    sequence_service_pb2,
)
from control_plane.grpc_api.generated.claims.v1 import service_pb2
from control_plane.names import MAX_PARTS
from control_plane.routing.rules.limits import MAX_RULES
from control_plane.xds.server.transport import MAX_RECEIVED_BYTES

CELLS = 300
CLAIM = {"action": "classify", "classify": {"claims": [{"route": "x"}]}}
JSON = {"content-type": "application/json", "if-match": "*"}
NDJSON = {"content-type": "application/x-ndjson"}
GRPC_SERVICES = (
    *cell_service_pb2.DESCRIPTOR.services_by_name.values(),
    *claim_service_pb2.DESCRIPTOR.services_by_name.values(),
    *classify_service_pb2.DESCRIPTOR.services_by_name.values(),
    *health_service_pb2.DESCRIPTOR.services_by_name.values(),
    *sequence_service_pb2.DESCRIPTOR.services_by_name.values(),
    *service_pb2.DESCRIPTOR.services_by_name.values(),
)


@dataclass(frozen=True)
class Call:
    """A request of the REST API."""

    method: str
    path: str
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))

    @property
    def operation(self) -> str:
        """The operation, for messages."""
        return f"{self.method} {self.path[:80]}"


def cells() -> bytes:
    """Cells as a topology's document has them."""
    items = [
        {
            "name": f"cell-{number}",
            "address": f"cell-{number}.example",
            "endpoints": [f"10.0.{number // 250}.{number % 250}:80"],
            "session_prefix": f"cell-{number}",
            "state": "active",
        }
        for number in range(CELLS)
    ]
    return json.dumps({"cells": items}).encode()


def rules(*patterns: str) -> bytes:
    """A ruleset of as many rules as there are patterns."""
    items = [
        {"id": f"r{number}", "match": [{"type": "path", "regexValue": pattern}], **CLAIM}
        for number, pattern in enumerate(patterns)
    ]
    return json.dumps({"rules": items}).encode()


def rulesets() -> Iterator[bytes]:
    """The rulesets that take longest to read, each near a limit of its own."""
    yield rules(*(f"^/a{number}/[^/]+" for number in range(MAX_RULES)))
    yield rules(*(f"^/[a-z]{{1,1000}}{number}" for number in range(24)))
    yield rules(*(f"^/[a-z]{{1,1000}}{number}" for number in range(60)))


def bodies() -> Iterator[bytes]:
    """JSON at its bounds: of values, of bytes, of bytes that are escapes; and far over them."""
    most = MAX_JSON_VALUES // 2 - 20
    yield b'{"rules":[' + b"[0]," * most + b"0]}"
    yield b'{"cells":[' + b'{"a":0},' * (most * 2 // 3) + b"{}]}"
    size = MAX_BODY_BYTES - 64
    yield b'{"value":"' + b"x" * size + b'"}'
    yield b'{"value":"' + rb"\u00e9" * (size // 6) + b'"}'
    yield b'{"rules":[' + b"[0]," * (size // 4) + b"0]}"
    yield b'{"value":[' + b"9" * 4200 + (b"," + b"9" * 4200) * (size // 4300) + b"]}"
    # Each key, or each item, is an error of its own.
    keys = b"{" + b",".join(b'"%d":0' % number for number in range(most)) + b"}"
    yield keys
    for name in (b"labels", b"tls", b"rulesets", b"subject"):
        yield b'{"' + name + b'":' + keys + b"}"
    for name in (b"endpoints", b"claims", b"cells", b"sequence_ranges"):
        yield b'{"' + name + b'":[' + b'"",' * most + b"0]}"
        yield b'{"' + name + b'":[' + b"{}," * (most // 2) + b"{}]}"


def claims() -> bytes:
    """A thousand claims of long names, which need normalising."""
    items = [
        {"bucket": "route", "value": f"É{number}" + "é" * 400, "cell": "cell-1"}
        for number in range(1000)
    ]
    return json.dumps({"claims": items}).encode()


def lines() -> bytes:
    """As many lines as one import takes."""
    items = [
        json.dumps({"bucket": "route", "value": f"{number}-" + "x" * 200, "cell": "cell-1"})
        for number in range(5000)
    ]
    return "\n".join(items).encode()


def rest_calls(description: dict[str, Any]) -> Iterator[Call]:
    """Every operation of the API's description with all that it may be sent."""
    yield Call("PUT", "/v1/topology", cells())
    yield Call("POST", "/v1/claims", claims())
    yield Call("POST", "/v1/claims/import", lines(), NDJSON)
    yield Call("POST", "/v1/claims/import", b"\n" * (MAX_BODY_BYTES - 1), NDJSON)
    for number, ruleset in enumerate(rulesets()):
        yield Call("POST", "/v1/rulesets/lint", ruleset)
        yield Call("PUT", f"/v1/rulesets/largest-{number}", ruleset)
        explained = {"url": "/a" * 30_000, "ruleset": json.loads(ruleset)}
        yield Call("POST", "/v1/explain", json.dumps(explained).encode())
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            yield from _calls(method.upper(), path, operation)


def _calls(method: str, path: str, operation: dict[str, Any]) -> Iterator[Call]:
    filled = re.sub("{[a-z]+}", "x" * 1000, path)
    if method == "GET":
        limits = [
            one["schema"] for one in operation.get("parameters", ()) if one["name"] == "limit"
        ]
        query = f"?limit={limits[0]['maximum']}" if limits else ""
        yield Call("GET", filled.replace("x" * 1000, "largest-0") + query)
    else:
        yield from (Call(method, filled, body) for body in bodies())


def grpc_calls() -> Iterator[tuple[str, bytes]]:
    """Every method of the Topology Service with a message of as many submessages as fit."""
    for service in GRPC_SERVICES:
        for method in service.methods:
            name = f"/{service.full_name}/{method.name}"
            lists = [
                one for one in method.input_type.fields if one.is_repeated and one.message_type
            ]
            # Whatever else is missing, it is not the cell that the request is refused for.
            cell = _cell_id(method)
            texts = [one for one in method.input_type.fields if one.cpp_type == one.CPPTYPE_STRING]
            for one in lists:
                for size in (MAX_PARTS, MAX_RECEIVED_BYTES):
                    yield name, cell + bytes([one.number << 3 | 2, 0]) * (size // 2 - 1)
                # Of these, a half looks like text.
                record = bytes([one.number << 3 | 2, 0x20]) + b"\xa2\x06\x1d" + b"x" * 29
                yield name, cell + record * (MAX_RECEIVED_BYTES // len(record) - 1)
            for one in texts:
                yield name, cell + _text(one.number, MAX_RECEIVED_BYTES - 8)
    claim = classify_service_pb2.ClassifyRequest()
    for _ in range(100):
        claim.claims.add(route="É" * 5000)
    classify = classify_service_pb2.DESCRIPTOR.services_by_name["ClassifyService"]
    yield f"/{classify.full_name}/Classify", claim.SerializeToString()


def _text(number: int, size: int) -> bytes:
    length = bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14])
    return bytes([number << 3 | 2]) + length + b"x" * size


def stream_messages() -> Iterator[tuple[str, bytes]]:
    """Requests of Envoys: names as many as fit, and as long; and a node with much to say."""
    ads = "/envoy.service.discovery.v3.AggregatedDiscoveryService"
    size = MAX_RECEIVED_BYTES - 1024
    for method, kind, field_name in (
        ("Stream", discovery_pb2.DiscoveryRequest, "resource_names"),
        ("Delta", discovery_pb2.DeltaDiscoveryRequest, "resource_names_subscribe"),
    ):
        names = kind.DESCRIPTOR.fields_by_name[field_name].number
        request = kind(node={"id": "x"}, type_url="type.googleapis.com/x").SerializeToString()
        for count in (30_000, 31_000, size // 2):
            yield f"{ads}/{method}AggregatedResources", request + bytes([names << 3 | 2, 0]) * count
    delta = discovery_pb2.DeltaDiscoveryRequest(node={"id": "x"}, type_url="type.googleapis.com/x")
    delta.node.metadata.update({str(number): {} for number in range(20_000)})
    yield f"{ads}/DeltaAggregatedResources", delta.SerializeToString()
    status = "/envoy.service.status.v3.ClientStatusDiscoveryService/StreamClientStatus"
    csds = csds_pb2.ClientStatusRequest()
    csds.node_matchers.add().node_id.exact = "x" * size
    yield status, csds.SerializeToString()
    csds = csds_pb2.ClientStatusRequest()
    for number in range(100):
        csds.node_matchers.add().node_id.safe_regex.regex = f"[a-z]{{1,1000}}{number}"
    yield status, csds.SerializeToString()
    csds.node_matchers[0].node_id.safe_regex.regex = "(a|b)" * (size // 10)
    yield status, csds.SerializeToString()


def check_request() -> bytes:
    """A request of Envoy's ext_authz filter with as many headers as Envoy takes."""
    request = external_auth_pb2.CheckRequest()
    http = request.attributes.request.http
    http.method, http.host, http.path = "GET", "x.example", "/" + "a/" * 8000
    for number in range(100):
        http.headers[f"x-{number}"] = "y" * 500
    message: bytes = request.SerializeToString()
    return message


def _cell_id(method: Any) -> bytes:
    """The field that names cell 1, if the method's request has it."""
    one = method.input_type.fields_by_name.get("cell_id")
    return b"" if one is None else bytes([one.number << 3, 1])
