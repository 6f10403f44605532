"""Serves methods by their descriptors: each has its deadline, bounds, statuses and counts.

A service says which Python function answers each method, and how that function runs (see
`ServiceMethods`). `register` makes gRPC handlers of them.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message

from control_plane.grpc_api.auth.guard import current_caller
from control_plane.grpc_api.server.pool import CallPool, deadline_passed
from control_plane.grpc_api.server.write_queue import QueuedWrite, WriteQueue
from control_plane.grpc_api.wire.status import CallError, Code, failure
from control_plane.names import (
    CELL_ID_METADATA,
    MAX_IDEMPOTENCY_KEY_CHARS,
    has_too_many_parts,
)
from control_plane.topology.values.errors import TopologyError

_IDEMPOTENCY_KEY = "idempotency-key"
_CELL_ID = re.compile(r"[1-9][0-9]{0,18}\Z")
"""A cell's id in its one form: "012" names no cell."""
Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """What a method learns of its caller."""

    actor: str
    """The caller's name for the audit."""
    idempotency_key: str | None = None
    cell_id: int | None = None
    """The cell that the certificate names; without TLS, the metadata ``x-cellway-cell-id``."""


@dataclass(frozen=True, slots=True)
class ServiceMethods:
    """The functions that answer the methods of one service, by method name and how they run."""

    descriptor: ServiceDescriptor
    inline: Mapping[str, Callable[[Any], Message]] = field(default_factory=dict)
    """They never block, and run on the event loop."""
    lookups: Mapping[str, Callable[[Any], Message]] = field(default_factory=dict)
    """They read the database through a connection of the thread in which they run.

    On SQLite that takes microseconds, so they run on the event loop; on PostgreSQL, in a pool.
    """
    pooled: Mapping[str, Callable[[Any, Call], Message]] = field(default_factory=dict)
    """They are transactions, and run in a pool."""
    beginning: Mapping[str, Callable[[Any, Call], QueuedWrite]] = field(default_factory=dict)
    """They begin an update of claims, which is written together with others that wait."""
    settling: Mapping[str, Callable[[Any, Call], QueuedWrite]] = field(default_factory=dict)
    """They end an update of claims that was begun."""


class CallObserver(Protocol):
    """Records each call, for metrics."""

    def called(self, method: str, code: grpc.StatusCode, seconds: float) -> None:
        """Record that a call of ``/service/method`` ended with this status."""


@dataclass(frozen=True, slots=True)
class Executors:
    """Where methods that block run."""

    transactions: CallPool
    updates: WriteQueue
    lookups: CallPool | None = None
    """None: look-ups run on the event loop."""


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """A request of too many parts, or whose bytes are no message of the method's type."""

    code: grpc.StatusCode
    reason: str


def register(
    server: grpc.aio.Server,
    services: Iterable[ServiceMethods],
    executors: Executors,
    observer: CallObserver,
) -> tuple[str, ...]:
    """Add every method of these services to a server, and return the services' full names."""
    names = []
    for service in services:
        handlers = {
            method.name: _handler(service, method, executors, observer)
            for method in service.descriptor.methods
        }
        name = service.descriptor.full_name
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        names.append(name)
    return tuple(names)


def _handler(
    service: ServiceMethods, method: MethodDescriptor, executors: Executors, observer: CallObserver
) -> grpc.RpcMethodHandler[Any, Any]:
    name = f"/{service.descriptor.full_name}/{method.name}"
    answer = _answerer(service, method.name, executors)

    async def serve(request: Message | _Unreadable, context: Context) -> Message:
        started = time.perf_counter()
        code, text = Code.UNKNOWN, ""
        try:
            response = await answer(_readable(request), context)
            code = Code.OK
        except (CallError, TopologyError) as error:
            code, text = failure(error)
        except asyncio.CancelledError:
            code = Code.CANCELLED
            raise
        finally:
            # A client that has its answer and reads the metrics must find its call counted.
            observer.called(name, code, time.perf_counter() - started)
        if code is not Code.OK:
            await context.abort(code, text)
        return response

    return grpc.unary_unary_rpc_method_handler(
        serve,
        request_deserializer=_reader(message_factory.GetMessageClass(method.input_type)),
        response_serializer=_write,
    )


def _answerer(
    service: ServiceMethods, method: str, executors: Executors
) -> Callable[[Any, Context], Awaitable[Message]]:
    if method in service.pooled:
        return partial(_pooled, service.pooled[method], executors.transactions)
    if method in service.settling:
        return partial(_queued, service.settling[method], executors.updates, settles=True)
    if method in service.beginning:
        return partial(_queued, service.beginning[method], executors.updates, settles=False)
    if method in service.inline:
        return partial(_inline, service.inline[method])
    lookup = service.lookups[method]
    return (
        partial(_inline, lookup)
        if executors.lookups is None
        else partial(_looked_up, lookup, executors.lookups)
    )


def _reader(kind: type[Message]) -> Callable[[bytes], Message | _Unreadable]:
    parse = kind.FromString

    def read(data: bytes) -> Message | _Unreadable:
        if has_too_many_parts(data):
            reason = f"the {len(data)} bytes of the request are of too many parts: send fewer"
            return _Unreadable(Code.RESOURCE_EXHAUSTED, reason)
        try:
            return parse(data)
        except DecodeError as error:
            # gRPC itself would answer INTERNAL, which clients retry.
            reason = f"the request is no {kind.DESCRIPTOR.full_name}: {error}"
            return _Unreadable(Code.INVALID_ARGUMENT, reason)

    return read


def _readable(request: Message | _Unreadable) -> Message:
    if isinstance(request, _Unreadable):
        raise CallError(request.code, request.reason)
    return request


def _write(message: Message) -> bytes:
    return message.SerializeToString()


async def _inline(method: Callable[[Any], Message], request: Any, context: Context) -> Message:
    _remaining(context)
    return method(request)


async def _looked_up(
    method: Callable[[Any], Message], pool: CallPool, request: Any, context: Context
) -> Message:
    return await pool.run(lambda: method(request), _remaining(context))


async def _pooled(
    method: Callable[[Any, Call], Message], pool: CallPool, request: Any, context: Context
) -> Message:
    remaining = _remaining(context)
    call = _call(context)
    return await pool.run(lambda: method(request, call), remaining)


async def _queued(
    method: Callable[[Any, Call], QueuedWrite],
    queue: WriteQueue,
    request: Any,
    context: Context,
    *,
    settles: bool,
) -> Message:
    remaining = _remaining(context)
    prepare = partial(method, request, _call(context))
    return await queue.run(prepare, remaining, settles=settles)


def _remaining(context: Context) -> float | None:
    """Return the seconds until the client gives up; raise `CallError` if it has."""
    remaining: float | None = context.time_remaining()
    if remaining is not None and remaining <= 0:
        raise deadline_passed()
    return remaining


def _call(context: Context) -> Call:
    metadata = context.invocation_metadata() or ()
    key = _single_value(_IDEMPOTENCY_KEY, metadata)
    caller = current_caller.get()
    if caller is not None:
        cell_id = caller.cell_ids[0] if len(caller.cell_ids) == 1 else None
        return Call(str(caller), key, cell_id)
    cell = _single_value(CELL_ID_METADATA, metadata)
    if cell is not None and not _CELL_ID.match(cell):
        raise CallError(Code.INVALID_ARGUMENT, f"{CELL_ID_METADATA}: {cell!r} is no cell id")
    return Call(f"grpc {context.peer()}", key, None if cell is None else int(cell))


def _single_value(wanted: str, metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
    """Return the value of a metadata key, None without one.

    Raises:
        CallError: The key is there twice, or its value is empty or too long.
    """
    values = [value for name, value in metadata if name == wanted]
    if len(values) > 1 or any(not 0 < len(value) <= MAX_IDEMPOTENCY_KEY_CHARS for value in values):
        text = f"{wanted}: send one, of 1 to {MAX_IDEMPOTENCY_KEY_CHARS} characters"
        raise CallError(Code.INVALID_ARGUMENT, text)
    value = values[0] if values else None
    return value.decode() if isinstance(value, bytes) else value
