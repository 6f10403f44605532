"""What a good gRPC server does: deadlines, bounds, health, reflection, and a graceful end."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from control_plane.grpc_api.generated.claims.v1 import messages_pb2 as pb
from control_plane.grpc_api.generated.claims.v1.service_pb2 import (
    BeginUpdateRequest,
    BeginUpdateResponse,
    CommitUpdateRequest,
)
from control_plane.server import Running, running
from control_plane.settings import Settings
from control_plane.topology import Topology
from tests.grpc_api.wire_client import PACKAGE, num
from tests.support.plane import add_cells

BEGIN = f"/{PACKAGE}.claims.v1.ClaimService/BeginUpdate"
COMMIT = f"/{PACKAGE}.claims.v1.ClaimService/CommitUpdate"
WAIT_S = 20.0
SERVICES = [
    f"{PACKAGE}.{name}"
    for name in (
        "CellService",
        "ClaimService",
        "ClassifyService",
        "HealthService",
        "SequenceService",
        "claims.v1.ClaimService",
    )
]


@contextlib.asynccontextmanager
async def up(folder: Path, **options: Any) -> AsyncIterator[tuple[Running, grpc.aio.Channel]]:
    settings = Settings(
        database_url=f"sqlite:///{folder}/topology.db",
        roles=("topology",),
        grpc_port=0,
        health_interval_s=0,
        **options,
    )
    async with running(settings) as plane:
        await asyncio.to_thread(add_cells, plane.topology)
        address = f"127.0.0.1:{plane.ports.grpc}"
        async with grpc.aio.insecure_channel(address) as channel:
            yield plane, channel


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[sqlite3.Connection]:
    """The database's write lock, held by somebody else until ``rollback``."""
    connection = sqlite3.connect(f"{folder}/topology.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    finally:
        connection.close()


def claiming(value: str) -> bytes:
    record = pb.Metadata(bucket=pb.Bucket(type=pb.Bucket.ROUTES, value=value))
    return BeginUpdateRequest(cell_id=1, create_records=[record]).SerializeToString()


def is_claimed(folder: Path, value: str) -> bool:
    topology = Topology.open(f"sqlite:///{folder}/topology.db")
    try:
        return topology.claims.owners_of([("route", value)]) != [None]
    finally:
        topology.close()


async def begun() -> None:
    """Wait until a blocking call has begun."""
    async with asyncio.timeout(WAIT_S):
        while not any(one.name.startswith("topology-grpc") for one in threading.enumerate()):
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)


async def code_of(call: Any) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_what_waited_past_its_deadline_is_not_begun(tmp_path: Path) -> None:
    async with up(tmp_path, grpc_threads=1) as (plane, channel):
        with locked(tmp_path) as lock:
            call = channel.unary_unary(BEGIN)
            first = asyncio.ensure_future(code_of(call(claiming("first"), timeout=WAIT_S)))
            await begun()
            late = await code_of(call(claiming("late"), timeout=0.1))
            lock.rollback()
        assert late is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await first is grpc.StatusCode.OK
        # A later call goes through the same thread: "late" had its chance before.
        assert await code_of(call(claiming("after"), timeout=WAIT_S)) is grpc.StatusCode.OK
        assert plane.topology.claims.owners_of([("route", "late"), ("route", "first")]) == [None, 1]


async def test_an_overloaded_server_says_so(tmp_path: Path) -> None:
    async with up(tmp_path, grpc_threads=1, grpc_max_calls=2) as (_, channel):
        with locked(tmp_path) as lock:
            call = channel.unary_unary(BEGIN)
            taken = [
                asyncio.ensure_future(code_of(call(claiming(f"r{i}"), timeout=WAIT_S)))
                for i in range(2)
            ]
            await begun()
            refused = await code_of(call(claiming("r2"), timeout=WAIT_S))
            assert refused is grpc.StatusCode.RESOURCE_EXHAUSTED
            # What needs no thread is answered all the same.
            classify = channel.unary_unary(f"/{PACKAGE}.ClassifyService/Classify")
            assert await code_of(classify(num(2, 1), timeout=WAIT_S)) is grpc.StatusCode.OK
            lock.rollback()
        assert await asyncio.gather(*taken) == [grpc.StatusCode.OK] * 2


async def test_a_commit_is_not_refused_in_favour_of_more_beginnings(tmp_path: Path) -> None:
    async with up(tmp_path, grpc_threads=1, grpc_max_calls=1) as (_, channel):
        begin, commit = channel.unary_unary(BEGIN), channel.unary_unary(COMMIT)
        response = BeginUpdateResponse.FromString(await begin(claiming("a"), timeout=WAIT_S))
        done = CommitUpdateRequest(cell_id=1, lease_uuid=response.lease_uuid).SerializeToString()
        with locked(tmp_path) as lock:
            waiting = asyncio.ensure_future(code_of(begin(claiming("b"), timeout=WAIT_S)))
            await begun()
            refused = await code_of(begin(claiming("c"), timeout=WAIT_S))
            assert refused is grpc.StatusCode.RESOURCE_EXHAUSTED
            committing = asyncio.ensure_future(code_of(commit(done, timeout=WAIT_S)))
            await asyncio.sleep(0.1)
            assert not committing.done()
            lock.rollback()
        assert await committing is grpc.StatusCode.OK
        assert await waiting is grpc.StatusCode.OK
        assert is_claimed(tmp_path, "a")


async def test_more_calls_than_the_port_takes_are_refused(tmp_path: Path) -> None:
    async with up(tmp_path, grpc_max_rpcs=2) as (_, channel):
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
        watching = [watch(b"", timeout=WAIT_S) for _ in range(2)]
        for one in watching:
            assert await one.read() == b"\x08\x01"
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert await code_of(check(b"", timeout=WAIT_S)) is grpc.StatusCode.RESOURCE_EXHAUSTED
        for one in watching:
            one.cancel()
        async with asyncio.timeout(WAIT_S):
            while await code_of(check(b"", timeout=WAIT_S)) is not grpc.StatusCode.OK:
                await asyncio.sleep(0.01)


async def test_one_client_takes_no_more_than_its_share_of_the_port(tmp_path: Path) -> None:
    async with up(tmp_path, grpc_max_rpcs_per_address=2) as (plane, channel):
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
        watching = [watch(b"", timeout=WAIT_S) for _ in range(2)]
        for one in watching:
            assert await one.read() == b"\x08\x01"
        for method in ("Check", "Watch"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                if method == "Watch":
                    await watch(b"", timeout=WAIT_S).read()
                else:
                    check = channel.unary_unary(f"/grpc.health.v1.Health/{method}")
                    await check(b"", timeout=WAIT_S)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "2 calls and streams are under way" in str(caught.value.details())
            assert "CELLWAY_GRPC_MAX_RPCS_PER_ADDRESS" in str(caught.value.details())
        # The requests of another machine come from another address.
        other = f"127.0.0.1:{plane.ports.grpc}"
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(other, options=options) as again:
            check = again.unary_unary("/grpc.health.v1.Health/Check")
            refused = await code_of(check(b"", timeout=WAIT_S))
            assert refused is grpc.StatusCode.RESOURCE_EXHAUSTED, "another port is the same peer"
            watching[0].cancel()
            async with asyncio.timeout(WAIT_S):
                while await code_of(check(b"", timeout=WAIT_S)) is not grpc.StatusCode.OK:
                    await asyncio.sleep(0.01)


async def test_messages_have_a_limit(tmp_path: Path) -> None:
    async with up(tmp_path) as (_, channel):
        too_large = await code_of(channel.unary_unary(BEGIN)(b"\x00" * (17 << 20)))
        assert too_large is grpc.StatusCode.RESOURCE_EXHAUSTED


@dataclass(frozen=True)
class Shutdown:
    """A server that stops while a write waits for the lock of its database."""

    call: asyncio.Future[grpc.StatusCode]
    stopping: asyncio.Future[None]
    lock: sqlite3.Connection


@contextlib.asynccontextmanager
async def shutdown(directory: Path) -> AsyncIterator[Shutdown]:
    """Begin a write that must wait, and stop the server; in the end both are over."""
    stack = contextlib.AsyncExitStack()
    plane, _ = await stack.enter_async_context(up(directory, grpc_threads=1))
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{plane.ports.grpc}")
    with locked(directory) as lock:
        write = channel.unary_unary(BEGIN)(claiming("begun"), timeout=WAIT_S)
        call = asyncio.ensure_future(code_of(write))
        await begun()
        stopping = asyncio.ensure_future(stack.aclose())
        yield Shutdown(call, stopping, lock)
    await stopping
    await channel.close()


async def test_shutdown_finishes_what_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.server.grpc_listener.GRACE_S", WAIT_S)
    async with shutdown(tmp_path) as one:
        await asyncio.sleep(0.2)
        assert not one.stopping.done()
        one.lock.rollback()
        assert await one.call is grpc.StatusCode.OK
    assert is_claimed(tmp_path, "begun")


async def test_shutdown_waits_for_a_transaction_even_past_its_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.server.grpc_listener.GRACE_S", 0.05)
    async with shutdown(tmp_path) as one:
        # The client is told that the connection ends; it may repeat the call with its key.
        assert await one.call is not grpc.StatusCode.OK
        assert not one.stopping.done()
        one.lock.rollback()
    assert is_claimed(tmp_path, "begun")


async def test_health_is_told_per_service_and_ends_first(tmp_path: Path) -> None:
    stack = contextlib.AsyncExitStack()
    plane, _ = await stack.enter_async_context(up(tmp_path))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{plane.ports.grpc}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", *SERVICES):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        unknown = stub.Check(health_pb2.HealthCheckRequest(service="x.Y"))
        assert await code_of(unknown) is grpc.StatusCode.NOT_FOUND
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICES[0]), timeout=WAIT_S)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        stopping = asyncio.ensure_future(stack.aclose())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        await stopping


async def test_reflection_shows_the_protocol(tmp_path: Path) -> None:
    async with up(tmp_path) as (_, channel):
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(timeout=WAIT_S)
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        listed = (await call.read()).list_services_response.service
        assert set(SERVICES) <= {service.name for service in listed}
        for service in SERVICES:
            request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=service)
            await call.write(request)
            (file, *_) = (await call.read()).file_descriptor_response.file_descriptor_proto
            assert service.rpartition(".")[2].encode() in file
        await call.done_writing()
