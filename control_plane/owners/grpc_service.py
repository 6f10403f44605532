"""The owners stream as a gRPC service, whose messages are frames instead of protobuf."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from control_plane.owners.follow import WrongKey
from control_plane.owners.frames import BadFrame
from control_plane.owners.serving import Behind, TooSlow

SERVICE = "cellway.edge.v1.Owners"
METHOD = f"/{SERVICE}/Follow"

Context = grpc.aio.ServicerContext[bytes, bytes]
Serve = Callable[[AsyncIterator[bytes], Context], Awaitable[None]]
_STATUS = {
    BadFrame: grpc.StatusCode.INVALID_ARGUMENT,
    WrongKey: grpc.StatusCode.FAILED_PRECONDITION,
    Behind: grpc.StatusCode.UNAVAILABLE,
    TooSlow: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


def handler(serve: Serve) -> grpc.GenericRpcHandler[Any, Any]:
    """Return the service for a gRPC server.

    Args:
        serve: Serves one stream (`serving.Readers.serve`). What that raises, the client is told.
    """

    async def follow(messages: AsyncIterator[bytes], context: Context) -> None:
        try:
            await serve(messages, context)
        except tuple(_STATUS) as error:
            await context.abort(_STATUS[type(error)], str(error))

    method = grpc.stream_stream_rpc_method_handler(follow)
    return grpc.method_handlers_generic_handler(SERVICE, {"Follow": method})
