"""``/v1/moves``: what a mover outside and an operator send, and what they get."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.topology import Topology
from control_plane.topology.values.claim import ClaimSpec
from tests.support.rest_server import serving
from tests.topology.conftest import cell_spec


@pytest.fixture
def api(tmp_path: Path) -> Iterator[httpx.Client]:
    topology = Topology.open(f"sqlite:///{tmp_path}/api.db")
    for number in (1, 2):
        topology.cells.create(cell_spec(number), actor="tester")
    specs = [ClaimSpec("route", name, "cell-1", subject="acme") for name in ("a", "b")]
    topology.claims.claim(specs, actor="tester")
    topology.close()
    with serving(tmp_path) as client:
        yield client


def plan(api: httpx.Client, **more: Any) -> httpx.Response:
    body = {"source": "cell-1", "target": "cell-2", "reason": "r", "subject": {"text": "acme"}}
    return api.post("/v1/moves", json=body | more)


def step(api: httpx.Client, name: str, **sent: Any) -> httpx.Response:
    return api.post(f"/v1/moves/1/{name}?wait=fleet", json=sent)


def test_a_mover_drives_every_step_over_rest(api: httpx.Client) -> None:
    planned = plan(api)
    assert (planned.status_code, planned.headers["location"]) == (201, "/v1/moves/1")
    assert planned.json()["move"]["next_steps"][0] == "cellway move preflight 1"
    assert step(api, "preflight").json()["move"]["state"] == "preflight"
    frozen = step(api, "freeze").json()["move"]
    assert (frozen["state"], frozen["blocked_by"]) == ("frozen", ["the way back is not verified"])
    verified = api.post("/v1/moves/1/verified", json={"back": True, "forth": True, "detail": "ok"})
    assert verified.json()["move"]["blocked_by"] == []
    for count in (3, 0, 0):
        report = {"reporter": "cell-1", "in_flight": count, "refused": 7}
        told = api.post("/v1/moves/1/reports", json=report).json()["move"]
        early = step(api, "switch", reason="go") if count else None
        assert early is None or "still under way" in early.json()["detail"]
    assert told["drained"] == "shown"
    switched = step(api, "switch").json()
    assert (switched["move"]["state"], switched["fleet"]["connected"]) == ("watching", 0)
    report = {"reporter": "cell-1", "old_cell_requests": 0, "misdirected": 1}
    api.post("/v1/moves/1/reports", json=report)
    assert step(api, "complete").json()["move"]["state"] == "completed"
    certificate = api.get("/v1/moves/1/certificate").json()
    assert certificate["old_cell"]["requests"] == "none"
    assert (certificate["refused"], certificate["misdirected"]) == (7, 1)
    assert certificate["not_known"][0].startswith("what Envoys do: none was connected")
    page = api.get("/v1/moves/1/certificate?format=markdown")
    assert page.headers["content-type"].startswith("text/markdown")
    assert "No request of the tenant reached cell-1" in page.text


def test_of_two_operators_one_gets_409_or_412(api: httpx.Client) -> None:
    plan(api)
    assert plan(api).status_code == 409
    etag = api.get("/v1/moves/1").headers["etag"]
    first, second = (
        api.post(f"/v1/moves/1/{name}", json={}, headers={"if-match": etag})
        for name in ("preflight", "rollback")
    )
    assert (first.status_code, second.status_code) == (200, 412)
    assert api.post("/v1/moves/1/rollback", json={}).status_code == 200
    late = api.post("/v1/moves/1/freeze", json={})
    assert (late.status_code, "it is rolled-back already" in late.text) == (409, True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"subject": None},
        {"batch": 3},
        {"freeze": {"allow": [{"path": "("}]}},
        {"freeze": {"refuse": [{"methods": ["post"]}]}},
        {"testers": [{"kind": "cookie", "name": "a b", "value": "x"}]},
        {"freeze_for_s": 0},
        {"reason": " "},
    ],
)
def test_a_malformed_plan_is_refused_with_what_is_wrong(
    api: httpx.Client, wrong: dict[str, Any]
) -> None:
    answer = plan(api, **wrong)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert api.get("/v1/moves").json()["items"] == []


def test_test_users_are_named_by_what_edges_tell(api: httpx.Client) -> None:
    rules = {
        "name": "r",
        "rules": [
            {
                "id": "one",
                "match": {"type": "header", "name": "^x-org$", "regexValue": "^(?<o>.+)$"},
                "action": "classify",
                "classify": {"claims": [{"route": "${o}"}]},
            }
        ],
    }
    assert api.put("/v1/rulesets/r", json=rules).status_code == 200
    api.post("/v1/rulesets/r/activate", json={"version": 1})
    unseen = plan(api, testers=[{"kind": "header", "name": "X-Try", "value": "1"}])
    assert (unseen.status_code, "use a cookie" in unseen.text) == (422, True)
    assert plan(api, testers=[{"kind": "header", "name": "X-Org", "value": "1"}]).is_success


def test_moves_are_listed_page_by_page(api: httpx.Client) -> None:
    for _ in range(3):
        number = plan(api).json()["move"]["id"]
        api.post(f"/v1/moves/{number}/rollback", json={})
    first = api.get("/v1/moves?limit=2").json()
    rest = api.get("/v1/moves", params={"cursor": first["next"]}).json()
    assert [one["id"] for one in [*first["items"], *rest["items"]]] == [3, 2, 1]
    assert api.get("/v1/moves/9").status_code == 404


def test_claims_are_given_a_subject(api: httpx.Client) -> None:
    claims = [{"bucket": "route", "value": "x", "cell": "cell-1"}]
    api.post("/v1/claims", json={"claims": claims})
    body = {"claims": [{"bucket": "route", "value": "x"}], "subject": "acme"}
    assert api.post("/v1/claims/subject", json=body).json()["claims"][0]["subject"] == "acme"
    assert plan(api).json()["move"]["claims"] == 3
