"""``POST /v1/classify``: the Topology Service's REST gateway, with its JSON and its errors."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from control_plane.api.auth import VIEWER
from control_plane.api.middleware.media_type import ANY_MEDIA_TYPE
from control_plane.api.schemas.answers import answers
from control_plane.api.schemas.classify import Classified, ClassifyBody, RpcStatus
from control_plane.api.state import state_of

router = APIRouter(prefix="/v1", tags=["classify"])
_BODY: dict[str, Any] = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{ClassifyBody.__name__}"},
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
    response_model=None,
    responses=answers(Classified) | answers(RpcStatus, 400, 404),
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
    headers = {"cache-control": answer.cache_control}
    if answer.status == 500:
        headers["connection"] = "close"
    return Response(answer.body, answer.status, headers, "application/json")
