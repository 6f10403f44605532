"""The types of ASGI, and what several middlewares do with its messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
"""A message of a connection, or the connection's scope."""
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_WRITE_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def is_write(scope: Message) -> bool:
    """Tell whether this is an HTTP request whose method may write."""
    return scope["type"] == "http" and scope["method"] in _WRITE_METHODS


def header(scope: Message, name: bytes, default: bytes = b"") -> bytes:
    """Return the last value of a header, whose name is in lower case."""
    value = default
    for field, text in scope["headers"]:
        if field.lower() == name:
            value = text
    return value


def values_of(scope: Message, name: bytes) -> list[bytes]:
    """Return every value of a header, whose name is in lower case."""
    return [text for field, text in scope["headers"] if field.lower() == name]


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that first gives a body that was read already, as one message."""
    is_replayed = False

    async def receive_again() -> Message:
        nonlocal is_replayed
        if not is_replayed:
            is_replayed = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return receive_again
