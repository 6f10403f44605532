"""Follows the control plane's table of owners, and tells it what the Envoys here have of it.

Nothing is followed until somebody wants the table: an Envoy that reads it, or a file of an earlier
Envoy's. So an agent whose Envoy has no map costs the control plane nothing.

A stream that ends is opened again after a pause that grows and has jitter. What was received of a
base is then lost; all else is kept, and the next stream goes on where this one has ended.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc

from control_plane.edge_agent.map_store import MapStore
from control_plane.edge_agent.metrics import MapMetrics
from control_plane.edge_agent.upstream import ControlPlane, final_status
from control_plane.owners.frames import (
    AGENT_DISK,
    AGENT_LIVE,
    BASE,
    BEAT,
    BEGIN,
    CUT_OFF,
    FOLLOW,
    LAST_OF_BASE,
    BadFrame,
    ClientMessage,
    Frame,
    decode,
    encode_client,
)
from control_plane.owners.stored_frames import Spool

log = logging.getLogger(__name__)
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 5.0
UNKNOWN_PAUSE_S = 30.0
"""The pause after the control plane has said that it has no such stream."""
TELL_S = 1.0
"""How often the control plane is told what an Envoy has, at most."""
MAX_NODES = 16
"""Of so many nodes it is told."""


class Ended(Exception):
    """The stream has ended; the text says why."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(f"{code.name}: {text}")
        self.code = code


class MapFollower:
    """Keeps a `MapStore` up to date from one control plane."""

    def __init__(
        self,
        plane: ControlPlane,
        store: MapStore,
        metrics: MapMetrics,
        node_id: Callable[[], str],
    ) -> None:
        """Follow nothing yet.

        Args:
            plane: The control plane.
            store: Where the table is kept.
            metrics: Are told whether the stream is open.
            node_id: Returns the id of the agent's Envoy; empty if it is not known.
        """
        self._plane = plane
        self._store = store
        self._metrics = metrics
        self._node_id = node_id
        self._wanted = asyncio.Event()
        self._from_nothing = False
        """Whether the next stream must not go on from what is here."""
        self._start_over = asyncio.Event()
        self._live = False
        self._incoming: tuple[Frame, Spool] | None = None
        """A base that is being received."""
        self._statuses: dict[str, ClientMessage] = {}
        """The last STATUS of each node."""
        self._untold: set[str] = set()
        self._tell = asyncio.Event()
        self._set_live(live=False)
        store.on_damage = self._on_damage

    def want(self) -> None:
        """Note that somebody reads the table."""
        self._wanted.set()

    def told(self, message: ClientMessage) -> None:
        """Pass on what an Envoy says that it has."""
        node_id = message.node_id or self._node_id()
        if node_id in self._statuses or len(self._statuses) < MAX_NODES:
            self._statuses[node_id] = message
            self._untold.add(node_id)
            self._tell.set()

    def _on_damage(self) -> None:
        self._from_nothing = True
        self._start_over.set()

    def _set_live(self, *, live: bool) -> None:
        self._live = live
        self._metrics.live.set(live)
        self._store.journal.cut_off = not live

    async def run(self) -> None:
        """Follow until cancelled, whatever the control plane does."""
        await self._store.load()
        if not self._store.has_file:
            await self._wanted.wait()
        logged, failures = "", 0
        while True:
            unknown = False
            try:
                await self._session()
            except (Ended, BadFrame, OSError) as error:
                if self._live:
                    logged, failures = "", 0
                level = logging.DEBUG if str(error) == logged else logging.WARNING
                log.log(level, "the table of owners is not kept up to date: %s", error)
                logged = str(error)
                unknown = isinstance(error, Ended) and self._learn(error)
            finally:
                self._set_live(live=False)
            failures += 1
            self._metrics.restarts.inc()
            await asyncio.sleep(UNKNOWN_PAUSE_S if unknown else _pause(failures))

    def _learn(self, ended: Ended) -> bool:
        """Note why a stream has ended; return whether the control plane does not know of any."""
        if ended.code == grpc.StatusCode.FAILED_PRECONDITION:
            # The table here is of a key that is no longer in use.
            self._from_nothing = True
        return ended.code == grpc.StatusCode.UNIMPLEMENTED

    async def _session(self) -> None:
        """Follow one stream to its end."""
        call = self._plane.owners_stream()
        self._start_over.clear()
        self._untold |= self._statuses.keys()
        self._tell.set()
        tasks = {
            asyncio.ensure_future(self._receive(call)),
            asyncio.ensure_future(self._tell_statuses(call)),
            asyncio.ensure_future(self._start_over.wait()),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            code, details = await final_status(call)
            raise Ended(code, details or str(error)) from error
        finally:
            call.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._drop_incoming()

    async def _receive(self, call: Any) -> None:
        await call.write(encode_client(self._follow()))
        async for data in call:
            await self._take(data, decode(data))
            if not self._live:
                self._set_live(live=True)
        raise Ended(await call.code(), await call.details() or "there is no more")

    def _follow(self) -> ClientMessage:
        """Return the first message: what is here, unless that is of no use."""
        base, journal = self._store.journal.base, self._store.journal
        node_id = self._node_id()
        if base is None or self._from_nothing:
            return ClientMessage(FOLLOW, node_id=node_id)
        return ClientMessage(
            FOLLOW, journal.revision, base.table, key_id=base.key_id, node_id=node_id
        )

    async def _take(self, data: bytes, frame: Frame) -> None:
        """Take a frame, or raise `BadFrame` if it can't come now."""
        if frame.kind == BEGIN:
            self._drop_incoming()
            self._incoming = (frame, self._store.spool())
        elif frame.kind == BASE:
            await self._take_base(data, frame)
        else:
            self._take_change(data, frame)

    async def _take_base(self, data: bytes, frame: Frame) -> None:
        if self._incoming is None:
            raise BadFrame("a base has come without its beginning")
        begin, spool = self._incoming
        if (frame.table, frame.revision) != (begin.table, begin.revision):
            raise BadFrame("a base has come that is another than the one that has begun")
        await asyncio.to_thread(spool.add, data, frame.count)
        if frame.flags & LAST_OF_BASE:
            await self._store.begin(begin, spool)
            self._incoming, self._from_nothing = None, False
            text = "the owners of %d names as of revision %d have come"
            log.info(text, spool.names, begin.revision)

    def _take_change(self, data: bytes, frame: Frame) -> None:
        journal = self._store.journal
        if self._incoming is not None or journal.base is None:
            raise BadFrame("a change has come amid a base")
        if frame.table != journal.base.table or frame.revision < journal.revision:
            raise BadFrame("a change has come of another table, or of an older revision")
        if frame.kind == BEAT:
            journal.advance(frame.revision)
            journal.confirm(time.monotonic() - frame.age_ms / 1000)
            journal.cut_off = bool(frame.flags & CUT_OFF)
        else:
            journal.relay(data, frame)
        self._store.changed()

    def _drop_incoming(self) -> None:
        if self._incoming is not None:
            self._incoming[1].discard()
            self._incoming = None

    async def _tell_statuses(self, call: Any) -> None:
        """Tell what the Envoys here have, each time that they say something new."""
        while True:
            await self._tell.wait()
            self._tell.clear()
            source = AGENT_LIVE if self._live else AGENT_DISK
            for node_id in sorted(self._untold):
                status = replace(self._statuses[node_id], source=source, node_id=node_id)
                await call.write(encode_client(status))
            self._untold.clear()
            await asyncio.sleep(TELL_S)


def _pause(failures: int) -> float:
    """Return the pause after so many failures in a row."""
    jitter = random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures, 20)) * jitter
