"""A database that dies is told as such, and is found again when it is back."""

from __future__ import annotations

import asyncio
import logging

import pytest

from control_plane.grpc_api.wire.status import CallError, Code, failure
from control_plane.topology.values.errors import (
    AlreadyExists,
    Contention,
    DatabaseFailed,
    Gone,
    Invalid,
    LeaseSettled,
    Locked,
    NotFound,
    Problem,
    Refused,
    StaleVersion,
    TopologyError,
    Unavailable,
)
from tests.grpc_api.wire_client import Wire, num, prepare, serving, sub
from tests.support.postgres import postgres

BEGIN = "claims.v1.ClaimService/BeginUpdate"
CLASSIFY = "ClassifyService/Classify"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Invalid(Problem("a", "b", "c")), Code.INVALID_ARGUMENT),
        (NotFound("claim", "x"), Code.NOT_FOUND),
        (AlreadyExists("claim", ()), Code.ALREADY_EXISTS),
        (Locked(()), Code.FAILED_PRECONDITION),
        (LeaseSettled("x", "committed"), Code.FAILED_PRECONDITION),
        (Refused("x", "y"), Code.FAILED_PRECONDITION),
        (Contention(3), Code.ABORTED),
        (StaleVersion("cell", "x", 1, 2), Code.ABORTED),
        (Gone(3), Code.OUT_OF_RANGE),
        (Unavailable("x"), Code.UNAVAILABLE),
        (DatabaseFailed("x"), Code.INTERNAL),
        (TopologyError("x"), Code.INTERNAL),
        (CallError(Code.RESOURCE_EXHAUSTED, "x"), Code.RESOURCE_EXHAUSTED),
    ],
)
def test_each_error_has_its_status(error: CallError | TopologyError, code: Code) -> None:
    assert failure(error)[0] is code


async def until_answered(wire: Wire, method: str, request: bytes) -> bytes:
    async with asyncio.timeout(60):
        while True:
            try:
                return await wire.raw(method, request)
            except Exception:  # noqa: BLE001 - whatever it is, the time is bounded
                await asyncio.sleep(0.1)


async def test_a_dead_postgresql_is_unavailable_until_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    claim = sub(1, num(1, 1) + sub(2, "later"))
    begin = sub(1, claim) + num(3, 1)
    with postgres() as server, server.database("dies") as url:
        prepare(url)
        async with serving(url) as wire:
            route = sub(5, sub(1, "gitlab-org"))
            before = await wire.raw(CLASSIFY, route)
            server.kill()
            with caplog.at_level(logging.CRITICAL):
                for method, request in ((BEGIN, begin), (CLASSIFY, route)):
                    for _ in range(2):
                        code, text = await wire.refused(method, request)
                        assert (code, "database" in text) == ("UNAVAILABLE", True), text
                refused = await wire.refused("HealthService/ReadinessProbe", b"")
                assert refused[0] == "UNAVAILABLE"
            assert await wire.raw("HealthService/LivenessProbe") == b""
            await asyncio.to_thread(server.start)
            assert await until_answered(wire, CLASSIFY, route) == before
            assert len(await until_answered(wire, BEGIN, begin)) > 36
