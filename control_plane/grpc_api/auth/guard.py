"""The interceptor that refuses calls which the caller's certificate does not allow.

It wraps the handler of each method once, at the method's first call. The wrapper reads the caller
from the certificate, asks the method's `Access`, and either aborts the call or hands it on with
`current_caller` set. On streams whose requests name a node, it checks each request too.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any, NoReturn, Protocol

import grpc

from control_plane.grpc_api.auth.access import Access
from control_plane.grpc_api.auth.callers import Callers
from control_plane.grpc_api.auth.identity import Caller
from control_plane.grpc_api.auth.method_wrapper import Handler, MethodWrapper
from control_plane.grpc_api.auth.svid import NamesNobody
from control_plane.grpc_api.wire.status import Code

log = logging.getLogger(__name__)
Context = grpc.aio.ServicerContext[Any, Any]

current_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)
"""Who makes the present call; None if the port has no TLS."""


class _CheckedContext:
    """A stream's context that checks each request, for handlers that read from the context."""

    def __init__(self, context: Context, check: Callable[[Any], Awaitable[None]]) -> None:
        self._context = context
        self._check = check

    async def read(self) -> Any:
        """Return the next request, or EOF."""
        request = await self._context.read()
        if request is not grpc.aio.EOF:  # type: ignore[attr-defined]
            await self._check(request)
        return request

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


class RefusalObserver(Protocol):
    """Records each refusal, for metrics."""

    def refused(self, method: str, code: grpc.StatusCode) -> None:
        """Record that a call of ``/service/method`` was refused with this status."""


class AccessGuard(MethodWrapper):
    """Enforces `Access` on every method of a server, whoever registered the method."""

    def __init__(
        self, callers: Callers, access: Callable[[str], Access], observer: RefusalObserver
    ) -> None:
        super().__init__()
        self._callers = callers
        self._access = access
        self._observer = observer

    def wrap(self, method: str, handler: Handler) -> Handler:
        """Return the handler, behind the check of the method's access."""
        access = self._access(method)
        reader, writer = handler.request_deserializer, handler.response_serializer
        if handler.request_streaming:
            serve = self._streamed_requests(
                method, access, handler.stream_stream or handler.stream_unary
            )
            if handler.response_streaming:
                return grpc.stream_stream_rpc_method_handler(serve, reader, writer)
            return grpc.stream_unary_rpc_method_handler(serve, reader, writer)
        if handler.response_streaming:
            many = self._streamed_response(method, access, handler.unary_stream)
            return grpc.unary_stream_rpc_method_handler(many, reader, writer)
        one = self._unary_response(method, access, handler.unary_unary)
        return grpc.unary_unary_rpc_method_handler(one, reader, writer)

    def _unary_response(self, method: str, access: Access, behaviour: Any) -> Any:
        async def serve(request: Any, context: Context) -> Any:
            await self._admit(method, access, context, getattr(request, "cell_id", None))
            return await behaviour(request, context)

        return serve

    def _streamed_response(self, method: str, access: Access, behaviour: Any) -> Any:
        if inspect.isasyncgenfunction(behaviour):

            async def generate(request: Any, context: Context) -> AsyncIterator[Any]:
                await self._admit(method, access, context, None)
                async for response in behaviour(request, context):
                    yield response

            return generate
        return self._unary_response(method, access, behaviour)

    def _streamed_requests(self, method: str, access: Access, behaviour: Any) -> Any:
        if inspect.isasyncgenfunction(behaviour):

            async def generate(requests: Any, context: Context) -> AsyncIterator[Any]:
                caller = await self._admit(method, access, context, None)
                checked = self._checked_requests(method, access, caller, requests, context)
                async for response in behaviour(checked, context):
                    yield response

            return generate

        async def serve(requests: Any, context: Context) -> Any:
            caller = await self._admit(method, access, context, None)

            async def check(request: Any) -> None:
                await self._check_node(method, access, caller, request, context)

            checked = self._checked_requests(method, access, caller, requests, context)
            return await behaviour(checked, _CheckedContext(context, check))

        return serve

    async def _admit(
        self, method: str, access: Access, context: Context, cell_id: int | None
    ) -> Caller:
        try:
            caller = await self._callers.of(context.auth_context())
        except NamesNobody as error:
            text = f"the certificate names no cell, router, admin or node: {error}"
            await self._refuse(method, Code.UNAUTHENTICATED, text, context)
        refusal = access.refusal(caller, cell_id)
        if refusal is not None:
            await self._refuse(method, Code.PERMISSION_DENIED, refusal, context)
        current_caller.set(caller)
        return caller

    async def _checked_requests(
        self, method: str, access: Access, caller: Caller, requests: Any, context: Context
    ) -> AsyncIterator[Any]:
        """Yield a stream's requests; refuse the call at one that names another node."""
        async for request in requests:
            await self._check_node(method, access, caller, request, context)
            yield request

    async def _check_node(
        self, method: str, access: Access, caller: Caller, request: Any, context: Context
    ) -> None:
        refusal = None
        if access.matching_node and request.HasField("node"):
            refusal = access.node_refusal(caller, request.node.id, request.node.cluster)
        elif access.named_node and request.node_id:
            refusal = access.name_refusal(caller, request.node_id)
        if refusal is not None:
            await self._refuse(method, Code.PERMISSION_DENIED, refusal, context)

    async def _refuse(
        self, method: str, code: grpc.StatusCode, text: str, context: Context
    ) -> NoReturn:
        log.warning("%s from %s is refused: %s", method, context.peer(), text)
        self._observer.refused(method, code)
        await context.abort(code, text)
