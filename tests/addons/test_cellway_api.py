"""Whatever is wrong with the API becomes one line that says what, where and how to mend it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from mitmproxy.test import taddons

from addons.cellway import CellwayRouter
from addons.cellway_api import CannotDecide, CellwayApi
from tests.support.certificates import Authority
from tests.support.rest_server import CELL, RULESET, serving

TOKEN = "a-token-of-32-characters-for-test"
NO_RULESET = b'{"active": false}'


@contextlib.contextmanager
def api_at(server: str, **options: object) -> Iterator[CellwayApi]:
    with taddons.context(CellwayRouter()) as context:
        context.options.update(cellway_server=server, **options)
        yield CellwayApi()


async def failure(api: CellwayApi) -> str:
    """Return the one line that says why the API can't be used."""
    with pytest.raises(CannotDecide) as caught:
        await api.edge()
    await api.close()
    text = str(caught.value)
    assert "\n" not in text
    return text


@contextlib.asynccontextmanager
async def answering(answer: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve one answer to every request; yield the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


def http_answer(status: bytes, kind: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n"
    return head % (status, kind, len(body)) + body


async def test_no_server_is_named_with_what_to_start() -> None:
    with api_at("http://127.0.0.1:1") as api:
        text = await failure(api)
    assert "can't reach http://127.0.0.1:1" in text
    assert "cellway up" in text


async def test_a_server_that_wants_a_token_says_so(tmp_path: Path) -> None:
    with serving(tmp_path, TOKEN) as client:
        with api_at(str(client.base_url)) as api:
            assert "set cellway_token" in await failure(api)
        with api_at(str(client.base_url), cellway_token="wrong") as api:
            text = await failure(api)
            assert "or another one" in text
            assert "wrong" not in text
        with api_at(str(client.base_url), cellway_token=TOKEN) as api:
            assert "no ruleset is active" in await failure(api)


async def test_the_token_may_stand_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path, TOKEN) as client, api_at(str(client.base_url)) as api:
        monkeypatch.setenv("CELLWAY_TOKEN", TOKEN)
        assert "no ruleset is active" in await failure(api)


async def test_cells_ruleset_and_owners_are_read(tmp_path: Path) -> None:
    with serving(tmp_path) as client, api_at(str(client.base_url)) as api:
        client.post("/v1/cells", json=CELL).raise_for_status()
        version = client.put("/v1/rulesets/r", json=RULESET).json()["ruleset"]["version"]
        client.post("/v1/rulesets/r/activate", json={"version": version}).raise_for_status()
        claim = {"bucket": "route", "value": "a.b/..", "cell": "cell-1"}
        client.post("/v1/claims", json={"claims": [claim]}).raise_for_status()
        edge = await api.edge()
        assert [cell.name for cell in edge.cells.all] == ["cell-1"]
        assert edge.version == f"r version {version}"
        assert await api.owner(("route", "a.b/..")) == edge.cells.all[0].id
        assert await api.owner(("route", "nobody")) is None
        await api.close()


@pytest.mark.parametrize(
    "answer",
    [
        http_answer(b"200 OK", b"text/html", b"<html>hello</html>"),
        http_answer(b"404 Not Found", b"text/html", b"<html>no</html>"),
        http_answer(b"302 Found", b"text/plain", b"elsewhere"),
        http_answer(b"200 OK", b"application/json", b"[]"),
        http_answer(b"200 OK", b"application/json", b'{"items": 3}'),
        http_answer(b"200 OK", b"application/json", b'{"items": [{}]}'),
    ],
)
async def test_a_server_that_is_not_cellway_is_told_apart(answer: bytes) -> None:
    async with answering(answer) as port:
        with api_at(f"http://127.0.0.1:{port}") as api:
            text = await failure(api)
    assert f"http://127.0.0.1:{port} does not answer as cellway does" in text
    assert "set cellway_server" in text


async def test_a_server_that_speaks_no_http_is_named() -> None:
    async with answering(b"220 mail.example ESMTP\r\n") as port:
        with api_at(f"http://127.0.0.1:{port}") as api:
            assert f"can't reach http://127.0.0.1:{port}" in await failure(api)


async def test_an_answer_that_does_not_come_in_time_names_the_limit() -> None:
    async with asyncio.timeout(20), await asyncio.start_server(_silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with api_at(f"http://127.0.0.1:{port}", cellway_timeout_ms=50) as api:
            assert "did not answer in 50 ms (cellway_timeout_ms)" in await failure(api)


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def test_a_certificate_of_an_unknown_authority_names_the_option(tmp_path: Path) -> None:
    authority = Authority()
    pair = authority.sign(dns=("localhost",))
    for name, content in (("crt", pair.certificate), ("key", pair.key), ("ca", authority.pem)):
        (tmp_path / name).write_bytes(content)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    answer = http_answer(b"200 OK", b"application/json", NO_RULESET)
    async with answering(answer, tls) as port:
        with api_at(f"https://localhost:{port}") as api:
            assert "set cellway_server_ca" in await failure(api)
        with api_at(f"https://localhost:{port}", cellway_server_ca=str(tmp_path / "ca")) as api:
            assert "no ruleset is active" in await failure(api)
        with api_at(f"https://localhost:{port}", cellway_server_ca=str(tmp_path / "key")) as api:
            assert "can't be used" in await failure(api)
