"""REST: conditional writes, paging, repeated requests, problems; no Envoy needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.rest_server import CELL, RULESET, serving


@pytest.fixture
def api(tmp_path: Path) -> Iterator[httpx.Client]:
    with serving(tmp_path) as client:
        yield client


def test_a_cell_from_creation_to_deletion(api: httpx.Client) -> None:
    made = api.post("/v1/cells", json=CELL)
    assert (made.status_code, made.headers["location"]) == (201, "/v1/cells/cell-1")
    assert made.headers["etag"] == '"1"'
    read = api.get("/v1/cells/cell-1")
    assert read.json()["serving"] is True
    changed = api.patch(
        "/v1/cells/cell-1", json={"weight": 7}, headers={"if-match": read.headers["etag"]}
    )
    assert (changed.status_code, changed.json()["cell"]["weight"]) == (200, 7)
    stale = api.patch(
        "/v1/cells/cell-1", json={"weight": 8}, headers={"if-match": read.headers["etag"]}
    )
    assert (stale.status_code, stale.json()["code"]) == (412, "stale-version")
    assert api.put("/v1/cells/cell-1", json=CELL).status_code == 428
    refused = api.patch("/v1/cells/cell-1", json={"state": "draining"}, headers={"if-match": "*"})
    assert (refused.status_code, refused.json()["code"]) == (409, "refused")
    for state in ("draining", "drained", "retired"):
        forced = api.patch(
            "/v1/cells/cell-1?force=true&reason=test",
            json={"state": state},
            headers={"if-match": "*"},
        )
        assert forced.status_code == 200
    gone = api.delete("/v1/cells/cell-1", headers={"if-match": "*"})
    assert gone.status_code == 200
    assert api.get("/v1/cells/cell-1").status_code == 404


def test_claims_are_paged_by_an_opaque_cursor(api: httpx.Client) -> None:
    api.post("/v1/cells", json=CELL)
    claims = [{"bucket": "route", "value": f"r{i}", "cell": "cell-1"} for i in range(7)]
    assert api.post("/v1/claims", json={"claims": claims}).status_code == 201
    seen: list[str] = []
    cursor = None
    while True:
        page = api.get("/v1/claims", params={"limit": 3, **({"cursor": cursor} if cursor else {})})
        seen += [item["value"] for item in page.json()["items"]]
        cursor = page.json()["next"]
        if cursor is None:
            break
    assert seen == [f"r{i}" for i in range(7)]
    assert api.get("/v1/claims", params={"cursor": "!!"}).status_code == 422
    assert api.get("/v1/claims/route/R3").json()["cell"] == "cell-1"
    taken = api.post("/v1/claims", json={"claims": claims[:2]})
    assert taken.status_code == 409
    assert [one["key"] for one in taken.json()["taken"]] == ["route:r0", "route:r1"]


def test_a_repeated_key_replays_the_answer(api: httpx.Client) -> None:
    key = {"idempotency-key": "k1"}
    first = api.post("/v1/cells", json=CELL, headers=key)
    again = api.post("/v1/cells", json=CELL, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = api.post("/v1/cells", json=CELL | {"name": "cell-2"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "key-reused")
    assert (
        api.post("/v1/cells", json=CELL, headers={"idempotency-key": "x" * 300}).status_code == 400
    )


def test_a_dry_run_keeps_nothing(api: httpx.Client) -> None:
    told = api.post("/v1/cells?dry_run=true", json=CELL)
    assert told.status_code == 200
    assert told.json()["changes"][0]["key"] == "cell-1"
    assert api.get("/v1/cells").json()["items"] == []


def test_rulesets_and_explain(api: httpx.Client) -> None:
    api.post("/v1/cells", json=CELL)
    assert api.post("/v1/explain", json={"url": "/x"}).status_code == 409
    kept = api.put("/v1/rulesets/r", json=RULESET)
    assert kept.json()["ruleset"]["version"] == 1
    assert api.post("/v1/rulesets/r/activate", json={"version": 1}).status_code == 200
    assert api.get("/v1/rulesets/active").json()["document"] == RULESET
    told = api.post(
        "/v1/explain", json={"url": "http://h/a/../b?x=1", "headers": [["x-cellway-cell", "no"]]}
    )
    assert told.json()["outcome"] == {"weighted": {"cell-1": 100}}
    assert told.json()["trace"][0]["rule"] == "all"
    refused = api.post("/v1/explain", json={"url": "/a%00b"})
    assert refused.json()["outcome"] == {"status": 400}
    assert api.post("/v1/explain", json={"url": "ftp://x"}).status_code == 422
    bad = api.put("/v1/rulesets/r", json={"name": "r", "rules": [{"id": "a", "action": "x"}]})
    assert bad.status_code == 422
    assert bad.json()["errors"][0]["rule"] == "a"
    unknown = {"id": "a", "action": "proxy", "proxy": {"cell": "nowhere"}}
    assert api.put("/v1/rulesets/r", json={"rules": [unknown]}).status_code == 422


def test_the_feed(api: httpx.Client) -> None:
    api.post("/v1/cells", json=CELL, headers={"x-actor": "alice"})
    (change,) = api.get("/v1/changes").json()["items"]
    assert (change["revision"], change["kind"], change["actor"]) == (
        1,
        "cell",
        "api (alice)@127.0.0.1",
    )
    assert api.get("/v1/changes?since=1").json()["items"] == []


def test_a_token_guards_everything_but_the_probes(tmp_path: Path) -> None:
    with serving(tmp_path, token="s3cret") as client:
        assert client.get("/v1/cells").status_code == 401
        assert client.get("/metrics").status_code == 401
        wrong = client.get("/v1/cells", headers={"authorization": "Bearer s3cre"})
        assert (wrong.status_code, wrong.headers["www-authenticate"]) == (401, "Bearer")
        right = client.get("/v1/cells", headers={"authorization": "Bearer s3cret"})
        assert right.status_code == 200
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("wait", ["0s", "1h", "x", "301s"])
def test_a_malformed_timeout_is_refused_before_anything_is_written(
    api: httpx.Client, wait: str
) -> None:
    answer = api.post(f"/v1/cells?wait=fleet&timeout={wait}", json=CELL)
    assert answer.status_code == 422
    assert api.get("/v1/cells").json()["items"] == []


def test_openapi_describes_every_path(api: httpx.Client) -> None:
    document = api.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert {
        "/v1/cells",
        "/v1/claims",
        "/v1/rulesets",
        "/v1/explain",
        "/v1/fleet",
        "/v1/changes",
    } <= (document["paths"].keys())
