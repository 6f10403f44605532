"""An interceptor that wraps the handler of each method once, at the method's first call."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

type Handler = grpc.RpcMethodHandler[Any, Any]


class MethodWrapper(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Has all calls of a server go through wrappers, which a subclass makes."""

    def __init__(self) -> None:
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Return the method's handler, wrapped."""
        method: str = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler: Any = await continuation(handler_call_details)
            if handler is None:
                # gRPC itself answers UNIMPLEMENTED. The stubs don't know of None.
                return handler  # type: ignore[return-value]
            # Only methods that are served get here, so their number is bounded.
            wrapped = self._wrapped[method] = self.wrap(method, handler)
        return wrapped

    @abstractmethod
    def wrap(self, method: str, handler: Handler) -> Handler:
        """Return what answers ``/service/method`` in place of its handler."""
