"""The API's doors over real sockets: other sites' pages, floods of keys, streams, and any header."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.api import app as api_app
from control_plane.topology import Scope
from tests.support.conditions import until
from tests.support.plane import add_cell, plane_with
from tests.support.raw_http import exchange, request_bytes
from tests.support.rest_server import RestServer

TOKEN = "the-token-of-the-configuration"
EVENTS = {"accept": "text/event-stream"}
LINE = b'{"bucket": "route", "value": "evil", "cell": "cell-1"}\n'
CROSS_SITE = {
    "origin": "http://evil.example",
    "content-type": "text/plain",
    "sec-fetch-site": "cross-site",
}


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


async def test_a_page_of_another_site_neither_writes_nor_reads(tmp_path: Path) -> None:
    async with plane_with(tmp_path) as (plane, client):
        add_cell(plane.topology)
        before = plane.topology.revision()
        body = {"name": "evil", "scope": "admin"}
        rebound = {"host": f"evil.example:{plane.ports.api}"}
        assert (await client.post("/v1/tokens", json=body, headers=rebound)).status_code == 421
        for path in ("/v1/cells", "/metrics", "/readyz", "/docs", "/openapi.json"):
            assert (await client.get(path, headers=rebound)).status_code == 421, path
        lines = await client.post("/v1/claims/import", content=LINE, headers=CROSS_SITE)
        assert (lines.status_code, lines.json()["code"]) == (403, "cross-site")
        for name in ("origin", "sec-fetch-site"):
            read = await client.get("/v1/cells", headers={name: CROSS_SITE[name]})
            assert read.status_code == 403
        assert plane.topology.revision() == before
        text = (await client.get("/metrics")).text
        assert 'cellway_api_refused_total{reason="wrong-host"} 6.0' in text
        assert 'cellway_api_refused_total{reason="cross-site"} 3.0' in text


async def test_a_configured_host_is_served(tmp_path: Path) -> None:
    async with plane_with(tmp_path, api_hosts=("cellway.example",)) as (_, client):
        for host, status in (("cellway.example", 200), ("evil.example", 421)):
            assert (await client.get("/v1/cells", headers={"host": host})).status_code == status


async def test_what_a_client_says_of_itself_stays_in_parentheses(tmp_path: Path) -> None:
    async with plane_with(tmp_path, api_token=TOKEN) as (plane, client):
        secret = plane.topology.tokens.create("ci", Scope.OPERATOR, actor="t").value.secret
        cell = {"name": "c", "address": "c.example", "endpoints": ["10.0.0.1:1"]}
        said = {"x-actor": "ann", "x-forwarded-for": "10.9.9.9", "forwarded": "for=10.9.9.9"}
        for number, (token, name) in enumerate(((TOKEN, "api"), (secret, "ci"))):
            body = cell | {"name": f"c{number}", "address": f"c{number}.example"}
            done = await client.post("/v1/cells", json=body, headers=bearer(token) | said)
            assert done.status_code == 201, done.text
            (change,) = plane.topology.changes.since(done.json()["revision"] - 1)
            assert change.actor == f"{name} (ann)@127.0.0.1"
        for fake in ("ann) api@10.0.0.9 (", "a\x1b[2Jb", "\xe4", "x" * 129):
            headers = [
                (b"authorization", f"Bearer {secret}".encode()),
                (b"x-actor", fake.encode("latin-1")),
            ]
            refused = await client.post("/v1/cells", json=cell, headers=headers)
            assert refused.status_code in {400, 422}, fake


async def test_strangers_and_viewers_leave_no_key(tmp_path: Path) -> None:
    async with plane_with(tmp_path, api_token=TOKEN) as (plane, client):
        add_cell(plane.topology)
        viewer = plane.topology.tokens.create("v", Scope.VIEWER, actor="t").value.secret
        for headers in ({}, bearer("wrong"), bearer(viewer)):
            for path in ("/healthz", "/readyz", "/v1/explain", "/v1/cells/cell-1/sequences"):
                key = {"idempotency-key": "k"}
                await client.post(path, json={"url": "/", "size": 10}, headers=headers | key)
        with plane.topology.engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT count(*) FROM idempotency").scalar_one()
        assert rows == 0


async def test_an_answer_that_is_not_kept_says_so(tmp_path: Path) -> None:
    async with plane_with(tmp_path) as (plane, client):
        add_cell(plane.topology)
        lines = b"".join(
            b'{"bucket": "route", "value": "%d", "cell": "no"}\n' % n for n in range(2000)
        )
        lines += LINE
        headers = {"idempotency-key": "k", "content-type": "application/x-ndjson"}
        first = await client.post("/v1/claims/import", content=lines, headers=headers)
        assert (first.status_code, first.json()["created"]) == (200, 1)
        assert first.headers["idempotency-kept"] == "false"
        again = await client.post("/v1/claims/import", content=lines, headers=headers)
        assert (again.status_code, again.json()["code"]) == (409, "answer-not-kept")
        kept = await client.post(
            "/v1/claims/import", content=LINE, headers=headers | {"idempotency-key": "l"}
        )
        assert "idempotency-kept" not in kept.headers


async def heard(response: httpx.Response) -> AsyncIterator[str]:
    async for line in response.aiter_lines():
        if line.startswith("data:"):
            yield line


async def test_a_stream_ends_when_its_token_is_revoked(tmp_path: Path) -> None:
    async with plane_with(tmp_path, api_token=TOKEN) as (plane, client):
        tokens = plane.topology.tokens
        secret = tokens.create("v", Scope.VIEWER, actor="t").value.secret
        async with client.stream("GET", "/v1/changes", headers=bearer(secret) | EVENTS) as response:
            lines = heard(response)
            assert '"create"' in await anext(lines)
            await asyncio.to_thread(tokens.revoke, "v", actor="t")
            await asyncio.to_thread(add_cell, plane.topology, "after")
            rest = [line async for line in lines]
        assert not any("after" in line or "revoke" in line for line in rest)


async def test_a_wait_ends_when_its_token_is_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with plane_with(tmp_path, api_token=TOKEN) as (plane, client):
        secret = plane.topology.tokens.create("o", Scope.OPERATOR, actor="t").value.secret
        asked = asyncio.Event()

        async def never(*_: Any) -> tuple[str, ...]:
            asked.set()
            await asyncio.Event().wait()
            return ()

        monkeypatch.setattr(plane.fleet, "wait", never)
        cell = {"name": "c", "address": "c.example", "endpoints": ["10.0.0.1:1"]}
        path = "/v1/cells?wait=fleet&timeout=60s"
        waiting = asyncio.create_task(client.post(path, json=cell, headers=bearer(secret)))
        await asked.wait()
        await asyncio.to_thread(plane.topology.tokens.revoke, "o", actor="t")
        answer = await waiting
        assert (answer.status_code, answer.json()["revision"]) == (401, 2)


async def opened(stack: AsyncExitStack, client: httpx.AsyncClient, secret: str) -> httpx.Response:
    stream = client.stream("GET", "/v1/changes", headers=bearer(secret) | EVENTS)
    return await stack.enter_async_context(stream)


async def test_streams_are_limited_and_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_app, "MAX_STREAMS", 3)
    monkeypatch.setattr(api_app, "MAX_STREAMS_PER_CALLER", 2)
    async with plane_with(tmp_path, api_token=TOKEN) as (plane, client):
        secrets = [
            plane.topology.tokens.create(name, Scope.VIEWER, actor="t").value.secret
            for name in "abc"
        ]
        async with AsyncExitStack() as stack:
            order = [secrets[number] for number in (0, 0, 0, 1, 2)]
            answers = [await opened(stack, client, secret) for secret in order]
            assert [one.status_code for one in answers] == [200, 200, 429, 200, 503]
            assert [one.headers.get("retry-after") for one in answers[2::2]] == ["1", "1"]
            plain = await client.get("/v1/changes", headers=bearer(secrets[0]))
            assert plain.status_code == 200, "a list takes no slot"

        async def free() -> bool:
            async with AsyncExitStack() as again:
                order = [secrets[number] for number in (0, 0, 1)]
                answers = [await opened(again, client, secret) for secret in order]
                return [one.status_code for one in answers] == [200, 200, 200]

        await until(free)


async def test_waits_are_limited_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_app, "MAX_WAITS_PER_CALLER", 0)
    async with plane_with(tmp_path) as (plane, client):
        cell = {"name": "c", "address": "c.example", "endpoints": ["10.0.0.1:1"]}
        refused = await client.post("/v1/cells?wait=fleet", json=cell)
        assert (refused.status_code, refused.json()["code"]) == (429, "too-many-waits")
        assert plane.topology.revision() == 0
        assert (await client.post("/v1/cells", json=cell)).status_code == 201


NAMES = (
    "Host", "Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Content-Type", "Idempotency-Key",
    "Authorization", "X-Actor", "If-Match", "Accept", "Last-Event-ID", "X-Forwarded-For",
)  # fmt: skip
VALUES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"", b"\xff", b"Bearer \xe9", b"Bearer cw_", b"[::1", b"a" * 300, b'W/"x"',
                     b"application/json", b"application/json;", b"\xc3\xa4", b"Bearer " + b"x" * 9000,
                     b"Bearer cw_" + b"0" * 16 + b"_" + b"A" * 43, b"text/event-stream-x", b"*"]),
)  # fmt: skip
LINES = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=5)
REQUESTS = (
    ("GET", b"/v1/changes"), ("POST", b"/v1/cells"), ("POST", b"/v1/claims/import"),
    ("POST", b"/v1/explain"), ("GET", b"/healthz"), ("PATCH", b"/v1/cells/c"), ("POST", b"/healthz"),
)  # fmt: skip


@pytest.mark.parametrize("token", [None, TOKEN])
def test_no_header_is_a_fault_of_ours(
    tmp_path: Path, token: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with RestServer(tmp_path, token) as server:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))

        @given(lines=LINES, request=st.sampled_from(REQUESTS), is_known=st.booleans())
        @settings(max_examples=150, deadline=None, derandomize=True, database=None)
        def send(
            lines: list[tuple[str, bytes]], request: tuple[str, bytes], is_known: bool
        ) -> None:
            method, target = request
            known = [("Authorization", f"Bearer {TOKEN}".encode())] if is_known else []
            # A line break would end the header.
            sent = [(name, value.translate(None, b"\r\n")) for name, value in lines]
            headers = [*known, *sent, ("Content-Length", b"2"), ("Connection", b"close")]
            host = None if any(name == "Host" for name, _ in lines) else b"localhost"
            data = request_bytes(target, headers, method=method, host=host, body=b"{}")
            answer = exchange(address, data)
            assert answer is None or answer.status < 500, (answer, data)

        send()
    faults = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert faults == []
