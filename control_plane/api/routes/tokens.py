"""``/v1/tokens``: the tokens that callers of this API need."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from control_plane.api.auth import ADMIN
from control_plane.api.long_work import TheWork
from control_plane.api.parameters import TokenInPath
from control_plane.api.rendering import rendered
from control_plane.api.schemas.answers import answers
from control_plane.api.schemas.tokens import TokenBody, TokenCreated, TokenList, TokenWritten
from control_plane.api.state import TheTopology
from control_plane.api.write import WriteOptions

router = APIRouter(prefix="/v1/tokens", tags=["tokens"])


@router.get("", response_model=None, responses=answers(TokenList), openapi_extra=ADMIN)
async def list_tokens(topology: TheTopology, work: TheWork) -> Response:
    """List all tokens that there ever were, without their secrets."""

    def read() -> Response:
        items = [token.as_dict() for token in topology.tokens.all()]
        return rendered({"items": items, "next": None})

    return await work(read)


@router.post("", status_code=201, responses=answers(TokenCreated, 200, 201), openapi_extra=ADMIN)
async def create_token(topology: TheTopology, body: TokenBody, write: WriteOptions) -> JSONResponse:
    """Make a token. Only this answer holds its secret.

    The answer is not kept under an Idempotency-Key. A repeated request makes no second token (409).
    """
    life = None if body.expires_in_s is None else timedelta(seconds=body.expires_in_s)
    written = await run_in_threadpool(
        topology.tokens.create,
        body.name,
        body.scope,
        actor=write.actor,
        life=life,
        dry_run=write.dry_run,
    )
    document: dict[str, Any] = {"token": written.value.token.as_dict()}
    if not write.dry_run:
        document["secret"] = written.value.secret
    response = await write.answer(written, document, status=201, etag=None)
    response.headers["cache-control"] = "no-store"
    return response


@router.delete("/{token}", responses=answers(TokenWritten), openapi_extra=ADMIN)
async def revoke_token(
    topology: TheTopology, token: TokenInPath, write: WriteOptions
) -> JSONResponse:
    """Revoke a token, by its id or its name. The next request with it is refused."""
    written = await run_in_threadpool(
        topology.tokens.revoke, token, actor=write.actor, dry_run=write.dry_run
    )
    return await write.answer(written, {"token": written.value.as_dict()}, etag=None)
