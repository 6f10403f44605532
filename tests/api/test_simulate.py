"""``POST /v1/simulate``, and the look-up of many owners that simulations need."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.api.routes import simulate
from control_plane.api.schemas.simulate import Simulated
from tests.support.rest_server import CELL, serving

RULE = {
    "id": "r",
    "match": {"type": "path", "regexValue": "^/(?<p>[^/]+)"},
    "action": "classify",
    "classify": {"claims": [{"route": "${p}"}]},
    "on_unknown": {"status": 404},
}
LOG = b'{"method": "GET", "path": "/a"}\n{"method": "GET", "path": "/b?x=[1,2]"}\nnonsense\n'
BYTES = {"content-type": "application/octet-stream"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    path: Path = tmp_path_factory.mktemp("api")
    with serving(path) as client:
        client.post("/v1/cells", json=CELL)
        claims = [{"bucket": "route", "value": "a", "cell": CELL["name"]}]
        assert client.post("/v1/claims", json={"claims": claims}).status_code == 201
        yield client


def put(api: httpx.Client, name: str, *rules: dict[str, Any]) -> None:
    assert api.put(f"/v1/rulesets/{name}", json={"rules": rules}).is_success


@pytest.fixture(scope="module")
def active(api: httpx.Client) -> httpx.Client:
    assert api.post("/v1/simulate", content=LOG, headers=BYTES).status_code == 409
    put(api, "now", RULE)
    put(api, "next", RULE | {"on_unknown": {"status": 410}})
    assert api.post("/v1/rulesets/now/activate", json={"version": 1}).is_success
    return api


@pytest.mark.parametrize("body", [LOG, gzip.compress(LOG, mtime=0)])
def test_a_stored_ruleset_is_compared_with_the_active_one(
    active: httpx.Client, body: bytes
) -> None:
    query = {"ruleset": "next", "examples": 1}
    answer = active.post("/v1/simulate", content=body, headers=BYTES, params=query)
    report = answer.json()
    assert (answer.status_code, report["requests"], report["different"]) == (200, 2, 1)
    Simulated.model_validate(report)
    assert [(one["from"], one["to"]) for one in report["groups"]] == [
        ({"rule": "r", "status": 404}, {"rule": "r", "status": 410}),
        ({"rule": "r", "cell": CELL["name"]}, {"rule": "r", "cell": CELL["name"]}),
    ]
    assert report["unreadable"]["first"][0]["line"] == 3


def test_without_a_ruleset_it_tells_where_requests_go(active: httpx.Client) -> None:
    report = active.post("/v1/simulate", content=LOG, headers=BYTES).json()
    assert (report["different"], len(report["groups"])) == (0, 2)


@pytest.mark.parametrize(
    ("query", "body", "status", "says"),
    [
        ({"ruleset": "none"}, LOG, 404, "none"),
        ({"version": 1}, LOG, 422, "name that too"),
        ({"ruleset": "next", "version": 9}, LOG, 404, "next@9"),
        ({}, b"nonsense", 422, "name it"),
        ({}, gzip.compress(LOG, mtime=0)[:-9], 422, "cut off"),
        ({"format": "har"}, LOG, 422, "no entries"),
        ({}, b"{}\n" * (simulate.BOUNDS.lines + 1), 422, "use `cellway simulate`"),
        ({}, gzip.compress(b"{" + b" " * (34 << 20), mtime=0), 422, "use `cellway simulate`"),
        ({}, gzip.compress(b"{\n" + b"\n" * 30_000, mtime=0), 422, "use `cellway simulate`"),
    ],
)
def test_what_cannot_be_simulated_is_told(
    active: httpx.Client, query: dict[str, Any], body: bytes, status: int, says: str
) -> None:
    answer = active.post("/v1/simulate", content=body, headers=BYTES, params=query)
    assert (answer.status_code, says in answer.json()["detail"]) == (status, True), answer.text


def test_owners_of_many_claims_are_told_at_once(api: httpx.Client) -> None:
    keys = [("route", "A/"), ("route", "nobody"), ("user_id", "no number"), ("route", "a")]
    claims = [{"bucket": bucket, "value": value} for bucket, value in keys]
    answer = api.post("/v1/claims/owners", json={"claims": claims}).json()
    owner = api.get(f"/v1/cells/{CELL['name']}").json()["id"]
    assert answer["owners"] == [owner, None, None, owner]
    assert answer["revision"] == api.get("/v1/topology").json()["revision"]
    many = {"claims": [{"bucket": "route", "value": "x" * 1024}] * 1000}
    assert api.post("/v1/claims/owners", json=many).json()["owners"] == [None] * 1000
    assert api.post("/v1/claims/owners", json={"claims": []}).status_code == 422
    bad = {"claims": [{"bucket": "m*", "value": "x"}]}
    assert api.post("/v1/claims/owners", json=bad).status_code == 422
