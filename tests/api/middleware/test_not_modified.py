"""What a client has already is not sent again, and what was changed always is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.api.middleware.not_modified import NotModified
from tests.api.middleware.connection import sent_to
from tests.support.rest_server import CELL, RULESET, serving

OTHER_RULESET = {"name": "r", "rules": [{"id": "b", "action": "proxy", "on_cell_down": 503}]}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[httpx.Client]:
    with serving(tmp_path) as client:
        assert client.post("/v1/cells", json=CELL).status_code == 201
        assert client.put("/v1/rulesets/r", json=RULESET).is_success
        yield client


def read_again(api: httpx.Client, path: str, etag: str) -> httpx.Response:
    return api.get(path, headers={"if-none-match": etag})


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("/v1/cells/cell-1", ["cell"]),
        ("/v1/topology", ["cell", "activate"]),
        ("/v1/rulesets/r", ["activate", "ruleset"]),
        ("/v1/rulesets/r?version=1", ["activate"]),
    ],
)
def test_only_what_is_the_same_is_left_out(
    api: httpx.Client, path: str, changes: list[str]
) -> None:
    for change in changes:
        before = api.get(path)
        same = read_again(api, path, before.headers["etag"])
        assert (same.status_code, same.content) == (304, b"")
        assert same.headers["etag"] == before.headers["etag"]
        change_by = {
            "cell": lambda: api.patch(
                "/v1/cells/cell-1", json={"weight": 7}, headers={"if-match": "*"}
            ),
            "activate": lambda: api.post("/v1/rulesets/r/activate", json={"version": 1}),
            "ruleset": lambda: api.put("/v1/rulesets/r", json=OTHER_RULESET),
        }
        assert change_by[change]().is_success
        after = read_again(api, path, before.headers["etag"])
        assert after.status_code == 200
        assert after.json() != before.json()


def test_the_etag_of_an_active_ruleset_serves_as_if_match(api: httpx.Client) -> None:
    assert api.post("/v1/rulesets/r/activate", json={"version": 1}).is_success
    etag = api.get("/v1/rulesets/r").headers["etag"]
    assert api.put("/v1/rulesets/r", json=OTHER_RULESET, headers={"if-match": etag}).is_success
    late = api.put("/v1/rulesets/r", json=RULESET, headers={"if-match": etag})
    assert (late.status_code, late.json()["code"]) == (412, "stale-version")


ETAG = b'"7"'


async def answering(scope: Any, receive: Any, send: Any) -> None:
    status = 404 if scope["path"] == "/missing" else 200
    tag = [] if scope["path"] == "/untagged" else [(b"etag", ETAG)]
    headers = [(b"content-length", b"4"), (b"content-type", b"text/plain"), *tag]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"bo", "more_body": True})
    await send({"type": "http.response.body", "body": b"dy"})


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ((b'"7"',), 304),
        ((b'W/"7"',), 304),
        ((b'"1", W/"7"',), 304),
        ((b'"1"', b'"7"'), 304),
        ((b"*",), 304),
        ((b'"77"',), 200),
        ((b"7",), 200),
        ((b"", b" ,"), 200),
        ((), 200),
    ],
)
async def test_a_list_of_etags_is_compared_weakly(sent: tuple[bytes, ...], status: int) -> None:
    headers = [(b"if-none-match", value) for value in sent]
    answer = await sent_to(NotModified(answering), method="GET", headers=headers)
    assert answer.status == status
    assert answer.body == (b"" if status == 304 else b"body")
    assert answer.headers[b"etag"] == ETAG
    assert (b"content-length" in answer.headers) == (status == 200)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/", 200), ("GET", "/missing", 404), ("GET", "/untagged", 200), ("HEAD", "/", 304)],
)
async def test_only_reads_of_what_has_an_etag_are_left_out(
    method: str, path: str, status: int
) -> None:
    headers = [(b"if-none-match", b"*")]
    answer = await sent_to(NotModified(answering), method=method, path=path, headers=headers)
    assert answer.status == status
