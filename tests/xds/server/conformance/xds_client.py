"""A client of all four variants of xDS, written from the protocol document, not from our server.

The variants differ in words only: a test says what the client subscribes to and what it must come
to hold, and this says it in delta or state of the world, on one stream or on one for each type.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.status.v3 import csds_pb2

from control_plane.names import RTDS
from tests.xds.server.conformance.variants import WILDCARD_TYPES, Variant, open_call
from tests.xds.server.conformance.world import publish
from tests.xds.server.wire import Wire

WAIT_S = 3.0
"""How long an answer may take: far less than any time-out of the server's."""
ROUND_TRIPS = 3
"""So often is the server asked for something else before silence counts as such."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response: resources as tag by name, and what delta says is gone."""

    type_url: str
    nonce: str
    version: str
    resources: dict[str, str]
    removed: tuple[str, ...]


@dataclass(slots=True)
class _Subscription:
    """What the client has asked for and holds of one type."""

    names: list[str] = field(default_factory=list)
    asked: bool = False
    nonce: str = ""
    version: str = ""
    holds: dict[str, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    """Names that the server has said do not exist."""


class _Stream:
    """One call. What comes is read at once: a read that is given up would end the call."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.introduced = False
        self.ended = False
        self.nonces: set[str] = set()
        self._came: dict[str, asyncio.Queue[Any]] = {}
        self._reader = asyncio.create_task(self._read())

    def came(self, type_url: str) -> asyncio.Queue[Any]:
        """Responses of this type that nobody has looked at."""
        return self._came.setdefault(type_url, asyncio.Queue())

    async def _read(self) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError):
            while (message := await self.call.read()) is not grpc.aio.EOF:
                self.came(message.type_url).put_nowait(message)
        self.ended = True
        for queue in self._came.values():
            queue.put_nowait(None)

    async def close(self) -> None:
        self.call.cancel()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)


class XdsClient:
    """One node. ``async with`` ends its streams."""

    def __init__(self, wire: Wire, variant: Variant, node: str = "n1") -> None:
        self.variant = variant
        self._wire = wire
        self._node = base_pb2.Node(id=node, cluster="edge")
        self._streams: dict[str, _Stream] = {}
        self._of_type: dict[str, _Subscription] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for stream in self._streams.values():
            await stream.close()

    def holds(self, type_url: str) -> dict[str, str]:
        """What the client runs of a type: tag by name."""
        return self._subscription(type_url).holds

    def missing(self, type_url: str) -> set[str]:
        """Names of a type that the server has said do not exist, and not sent since."""
        return self._subscription(type_url).missing

    async def begin(self, type_url: str, world: dict[str, str], *names: str) -> Answer:
        """Subscribe to these names of what is published as revision 1, and accept what comes."""
        publish(self._wire, 1, (type_url, world))
        await self.subscribe(type_url, *names)
        return await self.take(type_url)

    async def ask(self, type_url: str, world: dict[str, str], *names: str) -> list[Answer]:
        """Subscribe as `begin` does, and accept what comes until nothing more does."""
        publish(self._wire, 1, (type_url, world))
        await self.subscribe(type_url, *names)
        return await self.settle(type_url)

    async def renew(self, type_url: str, name: str) -> None:
        """Give a name up, and subscribe to it again once nothing more comes."""
        await self.unsubscribe(type_url, name)
        await self.settle(type_url)
        await self.subscribe(type_url, name)
        await self.settle(type_url)

    async def follow(self, type_url: str, revision: int, world: dict[str, str]) -> None:
        """Have another revision published, and accept what comes until nothing more does."""
        publish(self._wire, revision, (type_url, world))
        await self.settle(type_url)

    async def subscribe(self, type_url: str, *names: str) -> None:
        """Subscribe to these names as well; to none at all the first time: the legacy wildcard."""
        mine = self._subscription(type_url)
        mine.names += [name for name in names if name not in mine.names]
        if self.variant.delta and not mine.asked and not names and type_url in WILDCARD_TYPES:
            # Which is how it has to be given up, too.
            mine.names = ["*"]
        if self.variant.delta:
            await self.send(type_url, resource_names_subscribe=names)
        else:
            await self._say_names(type_url)

    async def unsubscribe(self, type_url: str, *names: str) -> None:
        """Give up these names, and what came for them."""
        mine = self._subscription(type_url)
        mine.names = [name for name in mine.names if name not in names]
        if "*" not in mine.names:
            mine.holds = {name: tag for name, tag in mine.holds.items() if name in mine.names}
        if self.variant.delta:
            await self.send(type_url, resource_names_unsubscribe=names)
        else:
            await self._say_names(type_url)

    async def only(self, type_url: str, *names: str) -> None:
        """Subscribe to exactly these names, in one message."""
        mine = self._subscription(type_url)
        more = [name for name in names if name not in mine.names]
        less = [name for name in mine.names if name not in names]
        mine.names = list(names)
        if "*" not in names:
            mine.holds = {name: tag for name, tag in mine.holds.items() if name in names}
        if self.variant.delta:
            await self.send(
                type_url, resource_names_subscribe=more, resource_names_unsubscribe=less
            )
        else:
            await self._say_names(type_url)

    async def send(self, type_url: str, **fields: Any) -> None:
        """Send a request with these fields as it is; the first of a stream says who asks."""
        stream = self._stream(type_url)
        made = (
            discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, **fields)
            if self.variant.delta
            else discovery_pb2.DiscoveryRequest(type_url=type_url, **fields)
        )
        if not stream.introduced:
            made.node.MergeFrom(self._node)
            stream.introduced = True
        self._subscription(type_url).asked = True
        await stream.call.write(made)

    async def _say_names(self, type_url: str, error: str = "") -> None:
        """State of the world: say all names, with the last nonce."""
        mine = self._subscription(type_url)
        made: dict[str, Any] = {
            "resource_names": mine.names,
            "version_info": mine.version,
            "response_nonce": mine.nonce,
        }
        if error:
            made["error_detail"] = {"code": 13, "message": error}
        await self.send(type_url, **made)

    async def check_current(self, type_url: str, holds: dict[str, str], revision: int) -> None:
        """Check that the client runs this, and that the server knows that it is up to date."""
        assert self.holds(type_url) == holds
        assert await self._wire.fleet.wait(revision, WAIT_S) == ()

    async def next(self, type_url: str) -> Answer:
        """The next response of this type."""
        stream = self._stream(type_url)
        async with asyncio.timeout(WAIT_S):
            message = await stream.came(type_url).get()
        assert message is not None, f"the stream ended: {await self.status(type_url)}"
        answer = self._read(message)
        assert answer.nonce
        assert answer.nonce not in stream.nonces
        stream.nonces.add(answer.nonce)
        self._subscription(type_url).nonce = answer.nonce
        return answer

    def _read(self, message: Any) -> Answer:
        delta = self.variant.delta
        bodies = [one.resource if delta else one for one in message.resources]
        clusters = [cluster_pb2.Cluster.FromString(body.value) for body in bodies]
        assert all(body.type_url == message.type_url for body in bodies)
        named = {one.name: one.alt_stat_name for one in clusters}
        assert len(named) == len(clusters), "a name came twice in one response"
        if delta:
            assert list(named) == [one.name for one in message.resources]
            assert all(one.version for one in message.resources)
        return Answer(
            message.type_url,
            message.nonce,
            message.system_version_info if delta else message.version_info,
            named,
            tuple(message.removed_resources) if delta else (),
        )

    async def ack(self, answer: Answer) -> None:
        """Run what came, and say so."""
        self._run(answer)
        if self.variant.delta:
            await self.send(answer.type_url, response_nonce=answer.nonce)
        else:
            await self._say_names(answer.type_url)

    def _run(self, answer: Answer) -> None:
        mine = self._subscription(answer.type_url)
        mine.version = answer.version
        # A runtime layer without values is how state of the world says that there is none.
        layers = answer.type_url == RTDS and not self.variant.delta
        blank = {name for name, tag in answer.resources.items() if layers and not tag}
        mine.missing = (mine.missing - answer.resources.keys()) | {*answer.removed, *blank}
        whole = not self.variant.delta and answer.type_url in WILDCARD_TYPES
        if whole:
            mine.holds = {}
            mine.missing = {*mine.names} - answer.resources.keys() - {"*"}
        mine.holds = {**mine.holds, **answer.resources}
        for name in mine.missing:
            mine.holds.pop(name, None)

    async def nack(self, answer: Answer, error: str = "no good") -> None:
        """Refuse all that came."""
        if self.variant.delta:
            await self.send(
                answer.type_url,
                response_nonce=answer.nonce,
                error_detail={"code": 13, "message": error},
            )
        else:
            await self._say_names(answer.type_url, error)

    async def take(self, type_url: str) -> Answer:
        """The next response, accepted."""
        answer = await self.next(type_url)
        await self.ack(answer)
        return answer

    async def settle(self, type_url: str, max_answers: int = 10) -> list[Answer]:
        """Accept what comes until nothing more does."""
        taken: list[Answer] = []
        while (answer := await self.maybe(type_url)) is not None:
            await self.ack(answer)
            taken.append(answer)
            assert len(taken) <= max_answers, "the server does not stop"
        return taken

    async def refuse(self, type_url: str, max_answers: int = 10) -> int:
        """Refuse the next response and whatever comes then, until nothing does; how many came."""
        answer: Answer | None = await self.next(type_url)
        refused = 0
        while answer is not None:
            await self.nack(answer)
            refused += 1
            assert refused <= max_answers, "refused resources are sent in a loop"
            answer = await self.maybe(type_url)
        return refused

    async def maybe(self, type_url: str) -> Answer | None:
        """The next response, if the server sends one without being asked for more.

        What was sent before is handled by the time at which the status has answered.
        """
        for _ in range(ROUND_TRIPS):
            await self._wire.status.FetchClientStatus(csds_pb2.ClientStatusRequest())
        stream = self._stream(type_url)
        assert not stream.ended, f"the stream ended: {await self.status(type_url)}"
        return None if stream.came(type_url).empty() else await self.next(type_url)

    async def silent(self, *type_urls: str) -> None:
        """Nothing comes of these types, and the streams live."""
        for type_url in type_urls:
            assert await self.maybe(type_url) is None

    async def finish(self, type_url: str) -> None:
        """Say that nothing more will be asked on the stream of this type."""
        await self._stream(type_url).call.done_writing()

    async def status(self, type_url: str) -> grpc.StatusCode:
        """How the stream of this type ended."""
        async with asyncio.timeout(WAIT_S):
            return grpc.StatusCode(await self._stream(type_url).call.code())

    async def leave(self, *type_urls: str) -> None:
        """End the streams of these types; the next request opens new ones, from nothing."""
        for type_url in type_urls:
            stream = self._streams.pop(self._key(type_url), None)
            if stream is not None:
                await stream.close()
            self._of_type.pop(type_url, None)

    def _key(self, type_url: str) -> str:
        return "" if self.variant.aggregated else type_url

    def _subscription(self, type_url: str) -> _Subscription:
        return self._of_type.setdefault(type_url, _Subscription())

    def _stream(self, type_url: str) -> _Stream:
        key = self._key(type_url)
        if key not in self._streams:
            self._streams[key] = _Stream(open_call(self._wire.channel, self.variant, type_url))
        return self._streams[key]
