"""A Topology Service on a free port, and messages built by hand from the field numbers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
from prometheus_client import CollectorRegistry

from control_plane.grpc_api.api import TopologyApi
from control_plane.grpc_api.directory import LiveDirectories
from control_plane.grpc_api.metrics import GrpcMetrics
from control_plane.grpc_api.server.methods import Executors
from control_plane.grpc_api.server.pool import CallPool
from control_plane.grpc_api.server.write_queue import WriteQueue
from control_plane.topology import Topology
from tests.support.plane import add_cells

PACKAGE = "gitlab.cells.topology_service"
ACTOR = "test"


def varint(number: int) -> bytes:
    """As the encoding documents it; negative numbers take ten bytes."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def num(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def sub(field: int, value: bytes | str) -> bytes:
    body = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(body)) + body


def fields(message: bytes) -> list[tuple[int, Any]]:
    """The fields of a message, in order: number, and the integer or the bytes."""
    found: list[tuple[int, Any]] = []
    at = 0

    def take() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = take()
        if tag & 7 == 0:
            found.append((tag >> 3, take()))
        else:
            assert tag & 7 == 2, f"wire type {tag & 7}"
            size = take()
            found.append((tag >> 3, message[at : at + size]))
            at += size
    return found


class Wire:
    """A server, its topology and a channel."""

    def __init__(self, topology: Topology, channel: grpc.aio.Channel, port: int) -> None:
        self.topology = topology
        self.channel = channel
        self.port = port
        self.registry = CollectorRegistry()

    async def raw(self, method: str, request: bytes = b"", **options: object) -> bytes:
        """Call a method below `PACKAGE` with bytes, and get bytes."""
        call = self.channel.unary_unary(f"/{PACKAGE}.{method}")
        return bytes(await call(request, timeout=10, **options))

    async def refused(self, method: str, request: bytes, **options: object) -> tuple[str, str]:
        """The status name and text of a call that must fail."""
        try:
            answer = await self.raw(method, request, **options)
        except grpc.aio.AioRpcError as error:
            return error.code().name, error.details() or ""
        raise AssertionError(f"{method} answered {answer!r}")


def prepare(url: str) -> None:
    """Migrate a database and add the cells."""
    topology = Topology.open(url)
    add_cells(topology)
    topology.close()


@contextlib.asynccontextmanager
async def serving(url: str, *, threads: int = 4, max_calls: int = 64) -> AsyncIterator[Wire]:
    """The service over a database made by `prepare`."""
    topology = Topology.open(url, migrate_first=False)
    live = LiveDirectories(topology)
    work = CallPool(threads=threads, max_calls=max_calls)
    lookups = None if url.startswith("sqlite") else CallPool(threads=threads, max_calls=max_calls)
    updates = WriteQueue(topology.leases.carry_out, max_calls=max_calls)
    api = TopologyApi(topology, live, Executors(work, updates, lookups))
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    wire = Wire(topology, channel, port)
    api.register(server, GrpcMetrics(wire.registry))
    await server.start()
    try:
        yield wire
    finally:
        await channel.close()
        await server.stop(1)
        await work.close()
        await updates.close()
        if lookups is not None:
            await lookups.close()
        live.close()
        topology.close()
