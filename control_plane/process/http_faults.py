"""Says to a person what is wrong with bytes that are no HTTP/1.1 request, as a problem document."""

from __future__ import annotations

import json
from http import HTTPStatus

import httptools

PRODUCT = "cellway"
"""What answers say in ``server``."""
TLS_HANDSHAKE = b"\x16\x03"
"""What a client of TLS sends first."""
_HTTP_2 = b"PRI * HTTP/2"


def fault_of(data: bytes, error: BaseException | None) -> str:
    """Return why bytes are refused, and what to send instead.

    Args:
        data: The bytes that came last.
        error: What httptools raised on reading them, if it did.
    """
    if data.startswith(TLS_HANDSHAKE):
        return "this port speaks plaintext HTTP, and TLS came: use http:// instead of https://"
    if data.startswith(_HTTP_2):
        return "this port speaks HTTP/1.1, and HTTP/2 came: have the client use HTTP/1.1"
    cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else error
    if isinstance(cause, httptools.HttpParserInvalidURLError | UnicodeError):
        return "the path of the request line can't be read: percent-encode what is no ASCII letter"
    said = str(cause).strip().rstrip(".") if isinstance(cause, httptools.HttpParserError) else ""
    return f"this is no HTTP/1.1 request{': ' if said else ''}{said}. Send HTTP/1.1."


def problem_response(status: int, detail: str, code: str) -> bytes:
    """Return a whole response with a problem document (RFC 9457), after which nothing follows."""
    title = HTTPStatus(status).phrase
    document = {"type": "about:blank", "title": title, "status": status}
    body = json.dumps({**document, "detail": detail, "code": code}).encode()
    lines = [
        f"HTTP/1.1 {status} {title}",
        "content-type: application/problem+json",
        f"content-length: {len(body)}",
        "connection: close",
        f"server: {PRODUCT}",
        *(["retry-after: 1"] if status == 503 else []),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
