"""A body of a media type that an operation does not read changes nothing, at any operation."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from tests.support.rest_server import CELL, serving

WRITES = ("post", "put", "patch", "delete")
FOREIGN = (
    "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "",
    "text/plain; application/json", "application/json, text/plain", "application/jsonx",
)  # fmt: skip
BODY = b'{"bucket": "route", "value": "evil", "cell": "cell-1"}\n'


def operations(api: httpx.Client) -> list[tuple[str, str]]:
    paths = api.get("/openapi.json").json()["paths"]
    return [
        (method, re.sub(r"\{[^}]*\}", "cell-1", path))
        for path, methods in paths.items()
        for method in methods
        if method in WRITES and path != "/v1/classify"
    ]


def test_only_documented_media_types_are_read(tmp_path: Path) -> None:
    with serving(tmp_path) as api:
        assert api.post("/v1/cells", json=CELL).status_code == 201
        before = api.get("/v1/topology").json()["revision"]
        found = operations(api)
        assert len(found) > 20
        for number, (method, path) in enumerate(found):
            for media_type in (FOREIGN[number % len(FOREIGN)], None):
                headers = {} if media_type is None else {"content-type": media_type}
                answer = api.request(method, path, content=BODY, headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (415, "media-type"), path
                assert "application/" in answer.json()["accepts"][0]
        twice = [("content-type", "application/x-ndjson"), ("content-type", "text/plain")]
        sent = [*([("content-type", one)] for one in FOREIGN), twice]
        for lines in sent:
            answer = api.post("/v1/claims/import", content=BODY, headers=lines)
            assert answer.status_code == 415, lines
        assert api.get("/v1/topology").json()["revision"] == before
        assert api.get("/v1/claims").json()["items"] == []


@pytest.mark.parametrize(
    "media_type", ["application/json", "Application/JSON; charset=utf-8", "application/json ;a=b"]
)
def test_json_is_read_however_it_is_spelled(tmp_path: Path, media_type: str) -> None:
    body = httpx.Request("POST", "http://h", json=CELL).content
    with serving(tmp_path) as api:
        answer = api.post("/v1/cells", content=body, headers={"content-type": media_type})
        assert answer.status_code == 201
        patch = {"content-type": "application/merge-patch+json", "if-match": "*"}
        patched = api.patch("/v1/cells/cell-1", content=b'{"weight": 5}', headers=patch)
        assert patched.json()["cell"]["weight"] == 5
        lines = {"content-type": "application/x-ndjson"}
        assert api.post("/v1/claims/import", content=BODY, headers=lines).json()["created"] == 1
