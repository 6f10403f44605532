"""What all tests share: names of cases, and a check that no gRPC server is left running."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from grpc.aio import _server

_running: list[grpc.aio.Server] = []
"""The servers whose ``start`` was called and whose ``stop`` has not ended."""


@pytest.fixture(scope="session", autouse=True)
def _servers_are_noted() -> Iterator[None]:
    """Note every server that runs, and hold gRPC's engine for it.

    gRPC's engine ends when the last server and channel are collected, and it waits for the calls
    that are still open. If a server was not stopped, it waits for ever, in whatever test comes
    next.
    """
    with pytest.MonkeyPatch.context() as patch:
        start, stop = _server.Server.start, _server.Server.stop

        async def started(self: Any) -> None:
            grpc.aio.init_grpc_aio()
            _running.append(self)
            await start(self)

        async def stopped(self: Any, grace: float | None) -> None:
            await stop(self, grace)
            if self in _running:
                _running.remove(self)
                grpc.aio.shutdown_grpc_aio()

        patch.setattr(_server.Server, "start", started)
        patch.setattr(_server.Server, "stop", stopped)
        yield


@pytest.fixture(autouse=True)
def _no_server_is_left(_servers_are_noted: None) -> Iterator[None]:
    before = len(_running)
    yield
    left_over = len(_running) - before
    assert not left_over, f"{left_over} gRPC servers of this test were started, but not stopped"


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a case of odd bytes by their number.

    Workers must collect the same names. Bytes that are made may differ: gzip puts the time into its
    head, so that two workers that collect in different seconds disagree, and no test runs.
    """
    if isinstance(val, bytes) and not (val.isascii() and val.decode("ascii").isprintable()):
        return f"{argname}-{len(val)}-bytes"
    return None
