"""No message, whatever its bytes, brings a traceback, an UNKNOWN status or the end of the process.

`test_random_requests` sends the protocol's own messages with odd values to the Topology Service.
Here every method of the port gets bytes of the worst kinds, by a client that is no gRPC stub.
"""

from __future__ import annotations

import logging
from pathlib import Path

import grpc
import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2

from control_plane.names import CDS, EDS, TYPE_URL
from control_plane.server import running
from control_plane.settings import Settings

WAIT_S = 20.0
BUGS = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL}
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
SERVICES = (
    "gitlab.cells.topology_service.ClassifyService",
    "gitlab.cells.topology_service.CellService",
    "gitlab.cells.topology_service.ClaimService",
    "envoy.service.discovery.v3.AggregatedDiscoveryService",
    "envoy.service.endpoint.v3.EndpointDiscoveryService",
    "envoy.service.status.v3.ClientStatusDiscoveryService",
    "envoy.service.auth.v3.Authorization",
    "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection",
)


def nested(depth: int, field: int = 1) -> bytes:
    """A message in a message in a message."""
    data = b""
    for _ in range(depth):
        length, encoded = len(data), b""
        while length > 0x7F:
            encoded += bytes([length & 0x7F | 0x80])
            length >>= 7
        data = bytes([field << 3 | 2]) + encoded + bytes([length]) + data
    return data


def delta(**fields: object) -> bytes:
    node = base_pb2.Node(id="n1", cluster="edge")
    message = discovery_pb2.DeltaDiscoveryRequest(node=node, **fields)
    return bytes(message.SerializeToString())


HOSTILE = {
    "nothing": b"",
    "huge varint": b"\x08" + b"\xff" * 9 + b"\x01",
    "endless varint": b"\x08" + b"\xff" * 40,
    "unknown enum": b"\x08\xff\xff\xff\xff\x07",
    "cut off": b"\x0a\xff\x7f",
    "field zero": b"\x00\x01",
    "no UTF-8": b"\x0a\x04\xff\xfe\xc0\x80" + b"\x12\x02\xc3\x28",
    "NUL": b"\x0a\x03a\x00b" + b"\x12\x03\x00\x00\x00",
    "escapes": b"\x0a\x06\x1b[2J\x07\n" + b"\x12\x0b\xe2\x80\xaeERROR x",
    "deep": nested(3_000),
    "deep struct": b"\x0a" + nested(90, 5),
    "long string": b"\x0a\x80\x80\x80\x05" + b"x" * (10 << 20),
    "many fields": b"\x0a\x01a" * 100_000,
    "many numbers": b"\x08\x01" * 100_000,
    "delta names": delta(type_url=EDS, resource_names_subscribe=["n"] * 90_000),
    "delta stray names": delta(
        type_url=EDS, resource_names_subscribe=list(map(str, range(30_000)))
    ),
    "delta versions": delta(type_url=CDS, initial_resource_versions={"\x1b[2J\n": "\x00"}),
    "delta odd type": delta(type_url=TYPE_URL + "\x1b\n" * 100_000),
    "reflection": reflection_pb2.ServerReflectionRequest(
        file_containing_symbol="\n\x1b" * 100_000
    ).SerializeToString(),
}


async def outcome(channel: grpc.aio.Channel, method: str, payload: bytes) -> grpc.StatusCode:
    """Send one message as a stream of one, which is what a unary call is on the wire too."""
    call = channel.stream_stream(method)(iter([payload]), timeout=WAIT_S)
    try:
        async for _ in call:
            if method.endswith("/Watch"):
                # It lasts for as long as the client wants.
                call.cancel()
                return grpc.StatusCode.OK
        return await call.code()
    except grpc.aio.AioRpcError as error:
        return error.code()


async def test_hostile_messages_meet_no_bug(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path}/topology.db"
    settings = Settings(
        database_url=url,
        roles=("topology", "xds", "classifier"),
        grpc_port=0,
        classifier_port=0,
        classifier_workers=0,
        classifier_protocol="grpc",
        health_interval_s=0,
    )
    async with running(settings) as plane:
        caplog.set_level(logging.WARNING)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{plane.ports.grpc}", UNLIMITED) as channel:
            methods = served_methods()
            assert len(methods) > 15
            for method in methods:
                for kind, payload in HOSTILE.items():
                    code = await outcome(channel, method, payload)
                    assert code not in BUGS, (method, kind, code)
            healthy = await outcome(channel, "/grpc.health.v1.Health/Check", b"")
            assert healthy is grpc.StatusCode.OK
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.exc_info]


def served_methods() -> list[str]:
    """Every method of the services, by ``/service/method``."""
    pool = descriptor_pool.Default()
    return [
        f"/{name}/{method.name}"
        for name in SERVICES
        for method in pool.FindServiceByName(name).methods
    ]
