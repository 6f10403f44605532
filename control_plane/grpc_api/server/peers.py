"""How many calls and streams one peer may have under way, so that none can take every slot.

The problem: the port takes a fixed number of calls at once. A stream lasts as long as its client
wants, so one client that opens ``Health.Watch`` again and again would shut out all others. The
idea: an interceptor counts what each peer has under way, and refuses what is over its share.

A peer is who the client's certificate names, else the client's address without its port:

    subjectAltName spiffe://cellway/node/edge/n1     every connection with this certificate
    ipv4:10.0.0.7:41044                              every connection from 10.0.0.7

The guard also refuses what is no message of the method's request type, for every service.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError

from control_plane.grpc_api.auth.method_wrapper import Handler, MethodWrapper

Context = grpc.aio.ServicerContext[Any, Any]
type Peer = tuple[bytes, ...] | str
_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """How many calls and streams one peer may have under way."""

    certificate: int = 1_000
    """By one certificate's names: a node has a few, the clients of one cell some hundreds."""
    address: int = 4_000
    """From one address without certificates, behind which a whole fleet may be (NAT, an agent)."""


class PeerObserver(Protocol):
    """Records each refusal, for metrics."""

    def peer_refused(self, method: str) -> None:
        """Record that a peer had too many calls under way for one more of ``/service/method``."""


class _TooMany(Exception):
    """The peer has as many calls under way as it may; the message says so to the client."""


@dataclass(frozen=True, slots=True)
class _Malformed:
    """A request whose bytes are no message of its method's request type."""

    error: str


class PeerGuard(MethodWrapper):
    """Holds every peer to its share of the calls under way."""

    def __init__(self, limits: PeerLimits, observer: PeerObserver) -> None:
        super().__init__()
        self._limits = limits
        self._observer = observer
        self._under_way: Counter[Peer] = Counter()

    def wrap(self, method: str, handler: Handler) -> Handler:
        """Return the handler, whose calls are counted."""
        behaviours: Any = handler
        kind = next(one for one in _KINDS if getattr(behaviours, one) is not None)
        changed = {kind: self._counted(method, getattr(behaviours, kind))}
        if not handler.request_streaming and handler.request_deserializer is not None:
            changed["request_deserializer"] = _tolerant(handler.request_deserializer)
        counted: Handler = behaviours._replace(**changed)
        return counted

    def _counted(self, method: str, behaviour: Any) -> Any:
        if inspect.isasyncgenfunction(behaviour):

            async def generate(request: Any, context: Context) -> AsyncIterator[Any]:
                try:
                    with self._slot(context):
                        _check(request)
                        async for response in behaviour(request, context):
                            yield response
                except (_TooMany, DecodeError, NotImplementedError) as error:
                    await self._refuse(method, error, context)

            return generate

        async def serve(request: Any, context: Context) -> Any:
            try:
                with self._slot(context):
                    _check(request)
                    return await behaviour(request, context)
            except (_TooMany, DecodeError, NotImplementedError) as error:
                await self._refuse(method, error, context)

        return serve

    @contextmanager
    def _slot(self, context: Context) -> Iterator[None]:
        peer = _peer(context)
        named = not isinstance(peer, str)
        most = self._limits.certificate if named else self._limits.address
        if self._under_way[peer] >= most:
            who = "this certificate's names" if named else f"the address {peer}"
            raise _TooMany(
                f"{who}: {most} calls and streams are under way already; end some, or raise "
                f"CELLWAY_GRPC_MAX_RPCS_PER_{'CERTIFICATE' if named else 'ADDRESS'}"
            )
        self._under_way[peer] += 1
        try:
            yield
        finally:
            self._under_way[peer] -= 1
            if not self._under_way[peer]:
                del self._under_way[peer]

    async def _refuse(self, method: str, error: Exception, context: Context) -> None:
        if isinstance(error, DecodeError):
            # By itself gRPC would log a traceback and answer UNKNOWN, which clients retry.
            text = f"the request can't be read: {error}"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        if isinstance(error, NotImplementedError):
            # What generated servicers raise for methods that their subclass lacks (Health.List).
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not served")
        self._observer.peer_refused(method)
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))


def _tolerant(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Return a reader that returns `_Malformed` for what is no message."""

    def read_or_tell(data: bytes) -> Any:
        try:
            return read(data)
        except DecodeError as error:
            return _Malformed(str(error))

    return read_or_tell


def _check(request: Any) -> None:
    """Raise DecodeError for a request that could not be read."""
    if isinstance(request, _Malformed):
        raise DecodeError(request.error)


def _peer(context: Context) -> Peer:
    names = context.auth_context().get("x509_subject_alternative_name")
    if names:
        return tuple(names)
    address = str(context.peer())
    kind, _, rest = address.partition(":")
    return address if kind == "unix" else f"{kind}:{rest.rpartition(':')[0]}"
