"""gRPC's own xDS client (``xds:///``) against our server: it is no Envoy, and asks for less."""

from __future__ import annotations

import sys

import pytest

from tests.xds.grpc_client_cases import CASES, Case
from tests.xds.grpc_world import calling
from tests.xds.server.wire import Wire


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_grpcios_client(case: Case) -> None:
    async with (
        Wire(force_shrink=True) as wire,
        calling(wire.port, sys.executable, "-m", "tests.xds.grpc_caller") as caller,
    ):
        await case(wire, caller)
