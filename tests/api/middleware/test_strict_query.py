"""Only parameters that an operation has are taken, and each once."""

from __future__ import annotations

from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI

from control_plane.api import problem
from control_plane.api.middleware.strict_query import strict_query


async def limits(limit: int = 1) -> int:
    return limit


async def answered(query: str) -> httpx.Response:
    app = FastAPI(dependencies=[Depends(strict_query)])
    problem.install(app)

    @app.get("/none")
    async def none() -> str:
        return "none"

    @app.get("/{name}")
    async def some(name: str, limit: Annotated[int, Depends(limits)], dry_run: bool = False) -> str:
        return f"{name} {limit} {dry_run}"

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://h") as client:
        return await client.get(query)


async def test_parameters_of_the_operation_and_of_its_dependencies_are_taken() -> None:
    answer = await answered("/x?dry_run=true&limit=3")
    assert (answer.status_code, answer.json()) == (200, "x 3 True")


@pytest.mark.parametrize(
    ("query", "field", "hint"),
    [
        ("/x?dryrun=true", "query.dryrun", "known: dry_run, limit"),
        ("/none?limit=1", "query.limit", "leave it out"),
        ("/x?limit=1&limit=2", "query.limit", "give it once"),
        ("/x?" + "y" * 500, "query." + "y" * 100, "known: dry_run, limit"),
    ],
)
async def test_others_are_refused_with_a_hint(query: str, field: str, hint: str) -> None:
    answer = await answered(query)
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"], error["mend"]) == (422, field, hint)


@pytest.mark.parametrize("query", ["/a%00b", "/x?limit=%00"])
async def test_a_nul_is_refused(query: str) -> None:
    answer = await answered(query)
    assert answer.status_code == 422
    assert "NUL" in answer.json()["detail"]
