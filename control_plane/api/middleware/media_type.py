"""Refuses bodies of another media type than the operation reads.

A page of another site can send ``text/plain`` and forms without being asked whether it may, but not
JSON. A body without any type is refused too, because a page can send that as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Request

from control_plane.api.middleware.asgi import is_write
from control_plane.api.problem import ProblemError

ANY_MEDIA_TYPE = {"x-cellway-any-media-type": True}
"""The ``openapi_extra`` of a read by POST whose clients name no media type."""
_ALSO = "x-cellway-also-takes"
_JSON = frozenset({"application/json"})
_PATCH = _JSON | {"application/merge-patch+json"}


def also_takes(*media_types: str) -> dict[str, Any]:
    """Return the ``openapi_extra`` of an operation that takes more than its request body says."""
    return {_ALSO: list(media_types)}


def media_type_check(refused: Callable[[str], None]) -> Callable[[Request], Any]:
    """Return a dependency that checks Content-Type; ``refused`` is told the code of a refusal."""

    async def check_media_type(request: Request) -> None:
        """Check the header Content-Type. Every operation depends on this.

        Raises:
            ProblemError: (415) The operation does not read this media type.
        """
        extra = request.scope["route"].openapi_extra or {}
        if not is_write(request.scope) or ANY_MEDIA_TYPE.items() <= extra.items():
            return
        sent = request.headers.getlist("content-type")
        if not sent and not await request.body():
            return
        taken = extra.get("requestBody", {}).get("content")
        taken = frozenset(taken) if taken else _PATCH if request.method == "PATCH" else _JSON
        taken |= frozenset(extra.get(_ALSO, ()))
        if len(sent) != 1 or sent[0].partition(";")[0].strip().lower() not in taken:
            refused("media-type")
            accepts = sorted(taken)
            detail = f"send the body with Content-Type: {' or '.join(accepts)}"
            raise ProblemError(415, detail, code="media-type", accepts=accepts)

    return check_media_type
