"""``/v1/tokens``: who may call this API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from control_plane.api.auth import ADMIN
from control_plane.api.schemas.operator_responses import TokenCreated, TokenList, TokenWritten
from control_plane.api.schemas.requests import TokenBody
from control_plane.api.schemas.responses import answers
from control_plane.api.write import WriteOptions
from control_plane.topology import Topology

router = APIRouter(prefix="/v1/tokens", tags=["tokens"])


@router.get("", response_model=None, responses=answers(TokenList), openapi_extra=ADMIN)
async def list_tokens(request: Request) -> dict[str, Any]:
    """Every token that there ever was, without its secret."""
    topology: Topology = request.app.state.topology
    found = await run_in_threadpool(topology.tokens.all)
    return {"items": [token.as_dict() for token in found], "next": None}


@router.post("", status_code=201, responses=answers(TokenCreated, 200, 201), openapi_extra=ADMIN)
async def create_token(request: Request, body: TokenBody, write: WriteOptions) -> JSONResponse:
    """Make a token. Its secret is in this answer and nowhere else.

    The answer is not kept under an Idempotency-Key; a repetition makes none (409).
    """
    topology: Topology = request.app.state.topology
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
async def revoke_token(request: Request, token: str, write: WriteOptions) -> JSONResponse:
    """End a token, by its id or its name; the next request with it is refused."""
    topology: Topology = request.app.state.topology
    written = await run_in_threadpool(
        topology.tokens.revoke, token, actor=write.actor, dry_run=write.dry_run
    )
    return await write.answer(written, {"token": written.value.as_dict()}, etag=None)
