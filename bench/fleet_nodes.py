"""Simulated Envoys: delta-ADS clients, many to a process, each with a stream of its own.

Towards a control plane they behave as Envoy does: they ask for the endpoints of new clusters,
answer each response, and name what they have when they reconnect. Of resources they keep only the
versions.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.connection import Connection
from typing import Any

import grpc
import uvloop
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2

from control_plane.names import CDS, EDS, LDS
from control_plane.xds.server.transport import MAX_SENT_BYTES

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
GROUP = "edge"
OPENING = 100
"""How many streams open at once; the kernel's queue of new connections is short."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many nodes there are, over how many connections, to which port, and what they want."""

    nodes: int
    channels: int
    port: int
    names: Mapping[str, tuple[str, ...]]
    """The names that each node subscribes to, by type URL; endpoints follow from the clusters."""
    core: int | None = None


@lru_cache(maxsize=4096)
def _needs_endpoints(body: bytes) -> bool:
    return bool(cluster_pb2.Cluster.FromString(body).type == cluster_pb2.Cluster.EDS)


@dataclass(slots=True)
class Totals:
    """What all nodes have been sent since they last connected."""

    responses: int = 0
    resources: int = 0
    resource_bytes: int = 0
    failures: list[str] = field(default_factory=list)


class SimulatedNode:
    """One Envoy."""

    def __init__(self, number: int, crowd: Crowd, interned: dict[str, str]) -> None:
        self._id = f"node-{number}"
        self._named: dict[str, set[str]] = {url: set(names) for url, names in crowd.names.items()}
        self._named[EDS] = set()
        self._has: dict[str, dict[str, str]] = {url: {} for url in (CDS, EDS, LDS, *crowd.names)}
        self._interned = interned
        self._hello: list[bytes] = []

    def prepare(self) -> None:
        """Make the first requests, which a thousand Envoys would do on machines of their own."""
        node = base_pb2.Node(id=self._id, cluster=GROUP)
        order = [CDS, *([EDS] if self._named[EDS] else []), LDS]
        order += [url for url in self._has if url not in {CDS, EDS, LDS}]
        self._hello = [
            discovery_pb2.DeltaDiscoveryRequest(
                node=node if url == CDS else None,
                type_url=url,
                resource_names_subscribe=sorted(self._named.get(url, ())),
                initial_resource_versions=self._has[url],
            ).SerializeToString()
            for url in order
        ]

    async def run(self, open_stream: Any, totals: Totals, opening: asyncio.Semaphore) -> None:
        """Open a stream, and answer until it ends or the task is cancelled."""
        call = open_stream()
        async with opening:
            for request in self._hello:
                await call.write(request)
        self._hello = []
        while (payload := await call.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]  # its stubs lack it
            for answer in self._take(
                discovery_pb2.DeltaDiscoveryResponse.FromString(payload), totals
            ):
                await call.write(answer)

    def _take(self, message: Any, totals: Totals) -> Iterator[bytes]:
        """Take a response; yield the requests that answer it."""
        has = self._has[message.type_url]
        totals.responses += 1
        for one in message.resources:
            has[self._intern(one.name)] = self._intern(one.version)
            totals.resources += 1
            totals.resource_bytes += len(one.resource.value)
        for name in message.removed_resources:
            has.pop(name, None)
        if message.type_url == CDS:
            yield from self._follow(message)
        acknowledgement = discovery_pb2.DeltaDiscoveryRequest(
            type_url=message.type_url, response_nonce=message.nonce
        )
        yield acknowledgement.SerializeToString()

    def _follow(self, clusters: Any) -> Iterator[bytes]:
        """Yield the requests that subscribe to the endpoints of new clusters, and drop others."""
        named = self._named[EDS]
        new = [
            self._intern(one.name)
            for one in clusters.resources
            if one.name not in named and _needs_endpoints(one.resource.value)
        ]
        if new:
            named.update(new)
            request = discovery_pb2.DeltaDiscoveryRequest(
                type_url=EDS, resource_names_subscribe=new
            )
            yield request.SerializeToString()
        if clusters.removed_resources:
            dropped = [name for name in clusters.removed_resources if name in named]
            named.difference_update(dropped)
            for name in dropped:
                self._has[EDS].pop(name, None)
            request = discovery_pb2.DeltaDiscoveryRequest(
                type_url=EDS, resource_names_unsubscribe=dropped
            )
            yield request.SerializeToString()

    def _intern(self, text: str) -> str:
        return self._interned.setdefault(text, text)


class _Process:
    """The client process: it connects and drops all nodes on command."""

    def __init__(self, crowd: Crowd) -> None:
        interned: dict[str, str] = {}
        self._crowd = crowd
        self._nodes = [SimulatedNode(number, crowd, interned) for number in range(crowd.nodes)]
        self._tasks: list[asyncio.Task[None]] = []
        self._channels: list[grpc.aio.Channel] = []
        self.totals = Totals()

    async def connect(self) -> None:
        opening = asyncio.Semaphore(OPENING)
        options = (
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", MAX_SENT_BYTES),
        )
        self._channels = [
            grpc.aio.insecure_channel(f"127.0.0.1:{self._crowd.port}", options)
            for _ in range(self._crowd.channels)
        ]
        streams = [channel.stream_stream(METHOD, None, None) for channel in self._channels]
        self.totals = totals = Totals()
        for number, node in enumerate(self._nodes):
            stream = streams[number % len(streams)]
            task = asyncio.create_task(node.run(stream, totals, opening))
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.totals.failures.append(repr(task.exception() or "the server ended a stream"))

    async def drop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for channel in self._channels:
            await channel.close(None)

    def prepare(self) -> None:
        for node in self._nodes:
            node.prepare()


def _main(crowd: Crowd, pipe: Connection) -> None:
    if crowd.core is not None:
        os.sched_setaffinity(0, {crowd.core})

    async def serve() -> None:
        process = _Process(crowd)
        while (command := await asyncio.to_thread(pipe.recv)) != "stop":
            if command == "prepare":
                process.prepare()
            elif command == "connect":
                await process.connect()
            elif command == "drop":
                await process.drop()
            pipe.send(process.totals)
        await process.drop()

    uvloop.run(serve())


class Nodes:
    """Commands the client process."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    async def tell(self, command: str) -> Totals:
        """Send a command; return the totals once it is carried out.

        Args:
            command: ``prepare`` (make the first requests), ``connect``, ``drop`` or ``report``.

        Raises:
            RuntimeError: a stream has ended by itself.
        """
        self._pipe.send(command)
        totals: Totals = await asyncio.to_thread(self._pipe.recv)
        if totals.failures and command != "drop":
            raise RuntimeError(f"{len(totals.failures)} streams failed: {totals.failures[0]}")
        return totals


@contextlib.asynccontextmanager
async def simulated(crowd: Crowd) -> AsyncIterator[Nodes]:
    """Run nodes in a process of their own; they are not connected yet."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(crowd, theirs), daemon=True)
    process.start()
    try:
        yield Nodes(ours)
    finally:
        ours.send("stop")
        await asyncio.to_thread(process.join, 20)
        if process.is_alive():
            process.kill()
