"""Connections to an ASGI middleware without a server: what it passes on, and what it sends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from control_plane.api.middleware.asgi import App, Message, Receive, Send


class InnerApp:
    """The app inside the middleware: it reads the body and answers 200 with it."""

    def __init__(self) -> None:
        self.scopes: list[Message] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] != "http":
            return
        message = await receive()
        self.bodies.append(message["body"])
        assert not message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": message["body"]})


class Connection:
    """A request in pieces, and what came back."""

    def __init__(self, *pieces: bytes, ends: bool = True) -> None:
        self._messages: list[Message] = [
            {"type": "http.request", "body": piece, "more_body": True} for piece in pieces
        ] or [{"type": "http.request", "body": b""}]
        if ends:
            self._messages[-1]["more_body"] = False
        self._sent: list[Message] = []

    async def receive(self) -> Message:
        return self._messages.pop(0) if self._messages else {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self._sent.append(message)

    @property
    def status(self) -> int | None:
        status: int | None = self._sent[0]["status"] if self._sent else None
        return status

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self._sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self._sent[1:])


async def sent_to(
    app: App,
    *pieces: bytes,
    method: str = "POST",
    path: str = "/v1/cells",
    headers: Iterable[tuple[bytes, bytes]] = (),
    ends: bool = True,
    extra: Sequence[tuple[str, Any]] = (),
) -> Connection:
    """Send a request to a middleware, and return the connection."""
    connection = Connection(*pieces, ends=ends)
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": list(headers),
        **dict(extra),
    }
    await app(scope, connection.receive, connection.send)
    return connection
