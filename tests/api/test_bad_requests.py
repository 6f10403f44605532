"""What is wrong with a request is said in a problem document, and nothing is written."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.api.middleware.body_limit import MAX_BODY_BYTES
from control_plane.api.routes import cells
from tests.support.raw_http import RawConnection, request_bytes
from tests.support.rest_server import CELL, RULESET, serving


@pytest.fixture
def api(tmp_path: Path) -> Iterator[httpx.Client]:
    with serving(tmp_path) as client:
        yield client


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert (answer.status_code, document["status"], document["code"]) == (status, status, code)
    return document


JSON = {"content-type": "application/json"}
TEN_MB = 10 << 20


def test_a_body_of_ten_megabytes_is_413(api: httpx.Client) -> None:
    for _ in range(3):
        answer = api.post("/v1/cells", content=b"x" * TEN_MB, headers=JSON)
        told = problem(answer, 413, "too-large")
        assert told["limit"] == MAX_BODY_BYTES
    assert api.get("/v1/cells").json()["items"] == []


def test_a_body_of_unknown_length_is_413_too(api: httpx.Client) -> None:
    chunks = (b"x" * 65536 for _ in range(TEN_MB // 65536))
    problem(api.post("/v1/cells", content=chunks, headers=JSON), 413, "too-large")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"name": "x",}', "at character"),
        (b"", "Field required"),
        (b"{", "at character"),
        (b"\xff\xfe", ""),
        (b'"' + b"a" * 10, "at character"),
        (b"[" * 100_000, ""),
        (b'{"id": ' + b"9" * 10_000 + b"}", ""),
    ],
)
def test_what_is_no_json_is_400_or_422_and_says_where(
    api: httpx.Client, body: bytes, says: str
) -> None:
    answer = api.post("/v1/cells", content=body, headers=JSON)
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.text
    assert api.get("/v1/cells").json()["items"] == []


def test_unknown_and_missing_fields_are_named_with_what_mends_them(api: httpx.Client) -> None:
    body = {key: value for key, value in CELL.items() if key != "address"} | {"adress": "x"}
    told = problem(api.post("/v1/cells", json=body), 422, "invalid")
    by_field = {error["field"]: error["mend"] for error in told["errors"]}
    assert by_field == {
        "body.address": "give it",
        "body.adress": "leave it out, or mend its spelling",
    }


def test_an_unknown_field_of_a_patch_is_named(api: httpx.Client) -> None:
    api.post("/v1/cells", json=CELL)
    answer = api.patch("/v1/cells/cell-1", json={"wieght": 1}, headers={"if-match": "*"})
    assert "wieght" in problem(answer, 422, "invalid")["errors"][0]["field"]
    assert api.get("/v1/cells/cell-1").json()["weight"] == 100


def test_a_mistyped_dry_run_writes_nothing(api: httpx.Client) -> None:
    told = problem(api.post("/v1/cells?dryrun=true", json=CELL), 422, "invalid")
    assert told["errors"][0]["field"] == "query.dryrun"
    assert "dry_run" in told["errors"][0]["mend"]
    assert api.get("/v1/cells").json()["items"] == []


def test_a_query_parameter_given_twice_is_refused(api: httpx.Client) -> None:
    problem(api.post("/v1/cells?dry_run=true&dry_run=false", json=CELL), 422, "invalid")
    problem(api.get("/v1/cells?limit=3"), 422, "invalid")


@pytest.mark.parametrize("name", ["active", "lint"])
def test_a_ruleset_can_not_have_the_name_of_a_page(api: httpx.Client, name: str) -> None:
    problem(api.put(f"/v1/rulesets/{name}", json=RULESET), 422, "invalid")


def test_unknown_paths_and_methods_are_problems_too(api: httpx.Client) -> None:
    for answer, status in ((api.get("/v1/nothing"), 404), (api.delete("/v1/fleet"), 405)):
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status


def test_a_body_that_breaks_off_is_not_carried_out(api: httpx.Client) -> None:
    body = json.dumps(CELL).encode()
    port = api.base_url.port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        # A whole document, but fewer bytes than were announced.
        head = b"POST /v1/cells HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        raw.sendall(head + b"content-length: %d\r\n\r\n" % (len(body) + 10) + body)
        raw.shutdown(socket.SHUT_WR)
        raw.settimeout(10)
        raw.recv(1024)
    assert api.get("/v1/cells").json()["items"] == []


def test_a_body_that_is_not_utf8_is_told_where(api: httpx.Client) -> None:
    answer = api.post("/v1/cells", content=b'{"name": "\xff"}', headers=JSON)
    assert "byte 0xff in position 10" in problem(answer, 400, "malformed-json")["detail"]


def test_every_error_says_what_where_and_how_to_mend_it(api: httpx.Client) -> None:
    """The framework's own words, "Not Found" and the like, reach nobody."""
    errors = [
        api.get("/v1/nothing"),
        api.delete("/v1/fleet"),
        api.get("/v1/cells/none"),
        api.get("/v1/cells?limit=1"),
        api.post("/v1/cells", content=b"{", headers=JSON),
        api.post("/v1/cells", content=b"{}", headers={"content-type": "text/plain"}),
        api.delete("/v1/cells/none"),
        api.put("/v1/cells/none", json=CELL, headers={"if-match": "mine"}),
        api.get("/v1/claims?cursor=mine"),
        api.get("/v1/cells", headers={"host": "a b"}),
    ]
    for answer in errors:
        document = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "detail", "code"} <= document.keys(), document
        assert document["status"] == answer.status_code
        assert document["detail"] != document["title"]
        assert len(document["detail"].split()) > 3, document


def test_after_a_fault_of_ours_the_connection_is_closed_and_says_so(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> Any:
        raise LookupError("a bug")

    monkeypatch.setattr(cells, "_document", fail)
    port = api.base_url.port
    assert port is not None
    assert api.post("/v1/cells", json=CELL).status_code == 500
    with RawConnection(("127.0.0.1", port)) as connection:
        answer = connection.exchange(request_bytes(b"/v1/cells/cell-1"))
        assert answer is not None
        assert (answer.status, answer.closes) == (500, True)
        assert json.loads(answer.body)["code"] == "internal"
        assert connection.is_closed_by_peer()
