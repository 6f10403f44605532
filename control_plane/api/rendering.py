"""Writes large answers as JSON without holding the interpreter's lock for long.

One call that writes 10 MB of JSON holds the lock until it is done, in a thread too, and the event
loop waits. So the members of a document are written piece by piece: each item of a list and each
member of an object at the second level is a piece of its own, between which other threads get
their turn.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from starlette.responses import Response

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def rendered(
    document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a document as an answer. It is to be called in a thread (see `long_work`)."""
    body = "".join(_pieces(document)).encode()
    return Response(body, status, dict(headers or {}), media_type="application/json")


def _pieces(document: Mapping[str, Any]) -> Iterator[str]:
    before = "{"
    for name, value in document.items():
        yield f"{before}{_encode(name)}:"
        yield from _pieces_of_value(value)
        before = ","
    yield "}" if document else "{}"


def _pieces_of_value(value: Any) -> Iterator[str]:
    if isinstance(value, list) and value:
        before = "["
        for item in value:
            yield before + _encode(item)
            before = ","
        yield "]"
    elif isinstance(value, dict) and value:
        before = "{"
        for name, item in value.items():
            yield f"{before}{_encode(name)}:{_encode(item)}"
            before = ","
        yield "}"
    else:
        yield _encode(value)
