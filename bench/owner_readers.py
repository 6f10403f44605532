"""Simulated readers of the owners stream, many to a process, each with a stream of its own.

They read what an edge would, and note of each frame of changes which revision it completes, and
when it came. Of a table they keep only how many records it has.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import grpc
import uvloop

from bench.process import spawned
from control_plane.names import OWNERS_SERVICE
from control_plane.owners.frames import (
    BASE,
    BEAT,
    CHANGES,
    CONTROL_PLANE,
    FOLLOW,
    LAST_OF_BASE,
    STATUS,
    ClientMessage,
    encode_client,
    revision_of,
)

METHOD = f"/{OWNERS_SERVICE}/Follow"
OPENING = 100
"""How many streams open at once; the kernel's queue of new connections is short."""


@dataclass(frozen=True, slots=True)
class Readers:
    """How many readers there are, over how many connections, to which port."""

    number: int
    channels: int
    port: int
    core: int | None = None


@dataclass(slots=True)
class Noted:
    """What the readers have noted."""

    whole: int = 0
    """Readers whose table is whole."""
    load_s: float = 0.0
    """The longest time from a reader's first message until its table was whole."""
    records: int = 0
    beats: int = 0
    frames: list[tuple[int, int, float]] = field(default_factory=list)
    """Of each frame of changes: complete up to which revision before and after it, and when."""
    failures: list[str] = field(default_factory=list)


async def _read(number: int, channel: grpc.aio.Channel, noted: Noted) -> None:
    method: Any = channel.stream_stream(METHOD, None, None)
    call = method()
    node = f"node-{number}"
    began = time.monotonic()
    await call.write(encode_client(ClientMessage(FOLLOW, node_id=node)))
    complete, table, told_at = 0, 0, 0.0
    while (frame := await call.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]  # its stubs lack it
        now = time.monotonic()
        kind = frame[0]
        if kind == BASE:
            noted.records += int.from_bytes(frame[4:8], "little")
            if frame[2] & LAST_OF_BASE:
                noted.whole += 1
                noted.load_s = max(noted.load_s, now - began)
                complete = revision_of(frame)
                table = int.from_bytes(frame[16:24], "little")
        elif kind == CHANGES:
            upto = revision_of(frame)
            if upto > complete:
                noted.frames.append((complete, upto, now))
            complete = upto
        elif kind == BEAT:
            noted.beats += 1
            if now - told_at >= 1.0:
                told_at = now
                status = ClientMessage(STATUS, complete, table, CONTROL_PLANE, node_id=node)
                await call.write(encode_client(status))


async def _serve(pipe: Connection, readers: Readers) -> None:
    noted = Noted()
    options = (("grpc.use_local_subchannel_pool", 1),)
    target = f"127.0.0.1:{readers.port}"
    channels = [grpc.aio.insecure_channel(target, options) for _ in range(readers.channels)]
    tasks: list[asyncio.Task[None]] = []
    for number in range(readers.number):
        tasks.append(asyncio.create_task(_read(number, channels[number % len(channels)], noted)))
        if number % OPENING == OPENING - 1:
            await asyncio.sleep(0.1)
    loop = asyncio.get_running_loop()
    while (asked := await loop.run_in_executor(None, pipe.recv)) != "end":
        noted.failures = [str(one.exception()) for one in tasks if one.done()]
        pipe.send(noted)
        if asked == "forget":
            noted.frames, noted.beats = [], 0
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for channel in channels:
        await channel.close(None)


def _run(pipe: Connection, readers: Readers) -> None:
    if readers.core is not None:
        os.sched_setaffinity(0, {readers.core})
    with contextlib.suppress(EOFError):
        uvloop.run(_serve(pipe, readers))


class Crowd:
    """Readers that run in another process."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def noted(self, *, forget: bool = False) -> Noted:
        """Return what the readers have noted so far; let them forget it.

        Raises:
            RuntimeError: Some stream has ended.
        """
        self._pipe.send("forget" if forget else "tell")
        noted: Noted = self._pipe.recv()
        if noted.failures:
            raise RuntimeError(f"{len(noted.failures)} streams ended: {noted.failures[0]}")
        return noted


@contextlib.contextmanager
def reading(readers: Readers) -> Iterator[Crowd]:
    """Run readers in a process of their own."""
    with spawned(_run, readers) as (_, pipe):
        yield Crowd(pipe)
        pipe.send("end")
