"""Whether the control plane serves, and how its streams have ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from control_plane.edge_agent import upstream as module
from control_plane.edge_agent.channels import ClientTls
from control_plane.edge_agent.upstream import ADS, ControlPlane, final_status, note_status


class EndedCall:
    """A call whose true status comes after some questions for its details."""

    def __init__(self, questions: int) -> None:
        self._questions = questions

    async def details(self) -> str:
        self._questions -= 1
        return "going away" if self._questions < 0 else "Internal error from Core"

    async def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE if self._questions < 0 else grpc.StatusCode.INTERNAL


async def test_the_true_status_is_waited_for() -> None:
    assert await final_status(EndedCall(3)) == (grpc.StatusCode.UNAVAILABLE, "going away")


async def test_the_true_status_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STATUS_S", 0.05)
    code, details = await final_status(EndedCall(1_000_000))
    assert (code, details) == (grpc.StatusCode.INTERNAL, "Internal error from Core")


async def test_a_write_that_fails_after_the_end_does_not_hide_why_it_ended() -> None:
    """Without `note_status`, some of these calls keep grpc's own words for good."""

    async def refuse(requests: AsyncIterator[bytes], context: Any) -> None:
        await anext(aiter(requests))
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "you may not")

    handler = grpc.stream_stream_rpc_method_handler(refuse)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", {"m": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    failed_writes = 0
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for _ in range(100):
            call: Any = channel.stream_stream("/s/m")()
            note_status(call)
            try:
                for _ in range(4):
                    await call.write(b"x")
            except grpc.aio.AioRpcError:
                failed_writes += 1
            except asyncio.InvalidStateError:
                pass
            code, details = await final_status(call)
            assert (code, details) == (grpc.StatusCode.PERMISSION_DENIED, "you may not")
    await server.stop(None)
    assert failed_writes


async def test_a_control_plane_serves_once_its_health_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PROBE_S", 0.01)
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    plane = ControlPlane(f"127.0.0.1:{port}")
    try:
        assert not await plane.serves()
        assert plane.trouble.startswith("NOT_FOUND"), "it does not know the service yet"
        await servicer.set(ADS, health_pb2.HealthCheckResponse.NOT_SERVING)
        assert not await plane.serves()
        assert plane.trouble == "it says that it does not serve"
        waiting = asyncio.create_task(plane.until_serves())
        await servicer.set(ADS, health_pb2.HealthCheckResponse.SERVING)
        async with asyncio.timeout(5):
            await waiting
        assert plane.trouble == ""
    finally:
        await plane.close()
        await server.stop(None)


def test_a_tls_file_that_is_missing_is_an_error_at_once(tmp_path: Path) -> None:
    tls = ClientTls(tmp_path / "cert", tmp_path / "key", tmp_path / "ca", "plane.example")
    with pytest.raises(OSError, match=r"the certificate .*cert: No such file"):
        ControlPlane("127.0.0.1:1", tls)
