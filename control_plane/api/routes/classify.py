"""``POST /v1/classify``: the Topology Service's REST gateway, with its JSON and its errors."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from control_plane.api.auth import VIEWER
from control_plane.api.middleware.media_type import ANY_MEDIA_TYPE
from control_plane.api.state import state_of

router = APIRouter(prefix="/v1", tags=["classify"])
_STATUS = {
    "description": "google.rpc.Status as JSON",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["code", "message", "details"],
                "properties": {
                    "code": {"type": "integer"},
                    "message": {"type": "string"},
                    "details": {"type": "array"},
                },
            }
        }
    },
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "type": {"type": ["string", "integer"]},
                        "value": {"type": "string"},
                        "claim": {"type": "object"},
                        "claims": {"type": "array", "items": {"type": "object"}},
                    },
                },
                "examples": {
                    "claims": {"value": {"claims": [{"route": "my-group"}, {"projectId": "42"}]}},
                    "type": {"value": {"type": "SESSION_PREFIX", "value": "cell-1"}},
                },
            }
        }
    }
}


# GitLab's gateway takes JSON under any media type, and so do we. It writes nothing.
@router.post(
    "/classify",
    openapi_extra=_BODY | VIEWER | ANY_MEDIA_TYPE,
    responses={400: _STATUS, 404: _STATUS},
)
async def classify(request: Request) -> Response:
    """Return the cell to proxy to, in the JSON of the Topology Service's gateway.

    Of the claims, the first that a cell owns decides. Without claims, ``type`` and ``value`` name
    the cell. 404: no cell owns any of the claims, or there is no such cell. Errors are a
    google.rpc.Status.
    """
    gateway = state_of(request).gateway
    if gateway is None:
        raise LookupError("the operation is served only with a gateway")
    answer = await gateway.classify(await request.body())
    return Response(
        answer.body,
        answer.status,
        {"cache-control": answer.cache_control},
        media_type="application/json",
    )
