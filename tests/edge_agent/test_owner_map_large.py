"""A table of a million names: it comes soon, holds no event loop, and is there soon after a restart."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import grpc

from control_plane.edge_agent.agent import AgentSettings, running
from control_plane.names import OWNERS_SERVICE
from control_plane.owners.base import Base, base_frames
from control_plane.owners.frames import (
    BEAT,
    FOLLOW,
    MAX_RECORDS,
    RECORD_BYTES,
    ClientMessage,
    decode,
    encode_client,
)
from control_plane.owners.journal import Journal
from tests.owners.servers import Plane
from tests.owners.tables import KEY_ID, TABLE
from tests.support.loop_lag import loop_is_free

NAMES = 1_000_000
ENOUGH_S = 20.0
"""Measured: 0.1 s on a quiet machine. Only a fault of another order reaches this."""
HELD_S = 1.0
"""How long the event loop may be held. Measured: 2 ms."""


def large() -> Journal:
    """Return a journal of a million random fingerprints."""
    bodies = (os.urandom(MAX_RECORDS * RECORD_BYTES) for _ in range(NAMES // MAX_RECORDS))
    one = Journal()
    one.begin(Base(TABLE, KEY_ID, 12, NAMES, list(base_frames(TABLE, 12, bodies))))
    return one


async def names_at(target: str) -> int:
    """Read a table up to its first beat, and return how many names it has."""
    names = 0
    async with grpc.aio.insecure_channel(target) as channel:
        call = channel.stream_stream(f"/{OWNERS_SERVICE}/Follow")()
        await call.write(encode_client(ClientMessage(FOLLOW, key_id=KEY_ID)))
        async for data in call:
            frame = decode(data)
            names += frame.count
            if frame.kind == BEAT:
                break
        call.cancel()
    return names


async def test_a_million_names_come_soon_and_are_there_after_a_restart(tmp_path: Path) -> None:
    plane = Plane(large())
    async with plane.running(), asyncio.timeout(2 * ENOUGH_S), loop_is_free(HELD_S):
        settings = AgentSettings(f"127.0.0.1:{plane.port}", tmp_path / "agent")
        for _ in range(2):
            async with running(settings) as agent:
                started = time.monotonic()
                assert await names_at(agent.address) == NAMES
                assert time.monotonic() - started < ENOUGH_S
