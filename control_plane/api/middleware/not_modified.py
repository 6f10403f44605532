"""Answers 304 instead of a document that the client has already (RFC 9110, section 13.1.2).

The client sends the ETag of its copy in ``If-None-Match``, and saves reading the document again.
The document is worked out all the same.
"""

from __future__ import annotations

from control_plane.api.middleware.asgi import App, Message, Receive, Send, header, values_of

_OF_A_BODY = frozenset({b"content-length", b"content-type"})


class NotModified:
    """ASGI middleware that compares the ETag of an answer with those that the client knows."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request."""
        is_read = scope["type"] == "http" and scope["method"] in {"GET", "HEAD"}
        known = _tags(values_of(scope, b"if-none-match")) if is_read else frozenset()
        if not known:
            await self._app(scope, receive, send)
            return
        is_left_out = False

        async def send_unless_known(message: Message) -> None:
            nonlocal is_left_out
            if message["type"] == "http.response.start" and message["status"] == 200:
                tag = header(message, b"etag")
                is_left_out = bool(tag) and (b"*" in known or _opaque(tag) in known)
                if is_left_out:
                    await send(_without_body(message))
                    await send({"type": "http.response.body", "body": b""})
            if not is_left_out:
                await send(message)

        await self._app(scope, receive, send_unless_known)


def _tags(values: list[bytes]) -> frozenset[bytes]:
    """Return the ETags of If-None-Match. None of ours has a comma in it."""
    return frozenset(_opaque(tag) for value in values for tag in value.split(b",") if tag.strip())


def _opaque(tag: bytes) -> bytes:
    """Return an ETag as the weak comparison sees it."""
    return tag.strip().removeprefix(b"W/")


def _without_body(start: Message) -> Message:
    kept = [field for field in start["headers"] if field[0].lower() not in _OF_A_BODY]
    return {**start, "status": 304, "headers": kept}
