"""NUL, which PostgreSQL keeps in no text: refused or not found, never an error of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.api.replica import replica


@pytest.fixture
async def api(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with replica(url) as (_, client):
        yield client


@pytest.mark.parametrize(
    "path",
    [
        "/v1/cells/a%00b",
        "/v1/claims/route/a%00b",
        "/v1/claims/a%00b/c",
        "/v1/claims?prefix=a%00b",
        "/v1/claims?bucket=a%00b",
        "/v1/claims?cell=a%00b",
        "/v1/leases?cell=a%00b",
        "/v1/audit?kind=a%00b",
        "/v1/audit?bucket=route&value=a%00b",
        "/v1/operations/a%00b",
        "/v1/rulesets/a%00b",
        "/v1/cells/a%2500b",
    ],
)
async def test_it_is_in_no_path_and_no_query(api: httpx.AsyncClient, path: str) -> None:
    answer = await api.get(path)
    assert answer.status_code in {404, 422}, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


CLAIM = {"bucket": "route", "value": "v", "cell": "c"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        *(("/v1/claims", {"claims": [CLAIM | {name: "a\x00b"}]}) for name in (*CLAIM, "subject")),
        ("/v1/claims/release", {"claims": [{"bucket": "route", "value": "a\x00b"}]}),
        ("/v1/leases/settle", {"cell": "a\x00b", "outcome": "commit", "reason": "r"}),
        (
            "/v1/claims/transfer",
            {"subject": {"text": "a\x00b"}, "source": "c", "target": "d", "reason": "r"},
        ),
        ("/v1/tokens", {"name": "a\x00b", "scope": "viewer"}),
        ("/v1/cells", {"name": "a\x00b", "address": "a.example", "endpoints": ["10.0.0.1:1"]}),
    ],
)
async def test_it_is_in_no_body(api: httpx.AsyncClient, path: str, body: dict[str, object]) -> None:
    for number in "cd":
        address = f"{number}.example"
        spec = {"name": number, "address": address, "endpoints": ["10.0.0.1:1"], "state": "active"}
        assert (await api.post("/v1/cells", json=spec)).status_code == 201
    answer = await api.post(path, json=body)
    assert answer.status_code in {404, 422}, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
