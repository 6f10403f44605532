"""HEAD is wherever GET is, and OPTIONS and 405 name all methods of a path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.raw_http import RawConnection, request_bytes
from tests.support.rest_server import CELL, RULESET, serving

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
BESIDE: dict[str, Any] = {"/docs": ["get"], "/openapi.json": ["get"], "/metrics": ["get"]}
"""Paths that the description does not name, because they belong to no operation."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(tmp_path_factory.mktemp("methods")) as client:
        assert client.post("/v1/cells", json=CELL).status_code == 201
        assert client.put("/v1/rulesets/cell-1", json=RULESET | {"name": "cell-1"}).is_success
        yield client


def methods_by_path(api: httpx.Client) -> dict[str, set[str]]:
    """Return the methods of each path as the description has them."""
    document = api.get("/openapi.json").json()
    templates = document["paths"] | BESIDE
    # Several templates may take one path: /v1/leases/settle may name a lease.
    return {
        path: {
            method.upper()
            for template, operations in templates.items()
            if re.fullmatch(re.sub(r"\{[^}]*\}", part_of(template), template), path)
            for method in operations
        }
        for path in (re.sub(r"\{[^}]*\}", "cell-1", template) for template in templates)
    }


def part_of(template: str) -> str:
    return ".+" if template.endswith("{value}") else "[^/]+"


def test_options_and_405_name_what_the_description_has(api: httpx.Client) -> None:
    for path, methods in methods_by_path(api).items():
        expected = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        told = api.options(path)
        assert (told.status_code, told.content) == (204, b""), path
        assert set(told.headers["allow"].split(", ")) == expected, path
        for method in {*METHODS, "TRACE"} - methods:
            refused = api.request(method, path)
            assert (refused.status_code, refused.json()["code"]) == (405, "method-not-allowed")
            assert refused.headers["allow"] == told.headers["allow"], (method, path)
            assert method in refused.json()["detail"]


def test_head_is_the_head_of_get(api: httpx.Client) -> None:
    for path, methods in methods_by_path(api).items():
        if "GET" not in methods:
            continue
        got, head = api.get(path), api.head(path)
        assert head.status_code == got.status_code, path
        assert head.content == b""
        varying = {"content-length"} if path == "/metrics" else set()
        for name in {"content-type", "content-length", "etag"} - varying:
            assert head.headers.get(name) == got.headers.get(name), (name, path)


def test_the_connection_serves_on_after_a_head(api: httpx.Client) -> None:
    port = api.base_url.port
    assert port is not None
    with RawConnection(("127.0.0.1", port)) as connection:
        for accept in (b"*/*", b"text/event-stream"):
            head = request_bytes(b"/v1/changes", [("Accept", accept)], method="HEAD")
            answer = connection.exchange(head)
            assert answer is not None
            assert answer.status == 200
            assert (answer.header("content-type") or b"").startswith(
                b"text/event-stream" if b"event" in accept else b"application/json"
            )
        again = connection.exchange(request_bytes(b"/healthz"))
        assert again is not None
        assert again.body == b'{"status":"ok"}'


def test_where_nothing_is_no_method_is_offered(api: httpx.Client) -> None:
    for method in (*METHODS, "OPTIONS"):
        answer = api.request(method, "/v1/nothing")
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
        assert "/openapi.json" in answer.json()["detail"]


def test_options_needs_a_token_where_one_is_configured(tmp_path: Path) -> None:
    with serving(tmp_path, token="secret") as client:
        assert client.options("/v1/cells").status_code == 401
        assert client.head("/v1/cells").status_code == 401
        assert client.head("/healthz").status_code == 200
