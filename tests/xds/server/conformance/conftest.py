"""The server and the client that every conformance test speaks with; the test says the variant."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.xds.server.conformance.variants import Variant
from tests.xds.server.conformance.xds_client import XdsClient
from tests.xds.server.wire import Wire


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with Wire(force_shrink=True) as made:
        yield made


@pytest.fixture
async def client(wire: Wire, variant: Variant) -> AsyncIterator[XdsClient]:
    async with XdsClient(wire, variant) as made:
        yield made
