"""The real Envoy goes on serving when something is dead, refused or wrong."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.conditions import wait_until
from tests.support.raw_client import RawClient
from tests.support.system import REFUSED_CELL, System

JSON = {"content-type": "application/json"}
SESSION = [("cookie", b"_gitlab_session=cell-2-a")]


def started(directory: Path, **settings: Any) -> System:
    """Return a system whose edge keeps no answers, so that each request asks the classifier."""
    return System(directory, edge_cache_entries=0, **settings)


def prepare(system: System) -> None:
    system.add_cells()
    system.claim("cell-1", "route:foo", "tenant:acme")
    system.use_ruleset("gitlab")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with started(tmp_path_factory.mktemp("alive")) as running:
        prepare(running)
        yield running


@pytest.fixture(scope="module")
def without_classifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system whose classifier has answered, has been killed, and stays dead."""
    directory = tmp_path_factory.mktemp("dead")
    with (
        started(directory, classifier_workers=1, classifier_restart_s=0) as running,
        RawClient(running.edge_port) as client,
    ):
        prepare(running)
        running.use_ruleset(rules(path_rule(on_classifier_down=503)))
        assert client.ask(b"/t/acme")[1].get("x-example-cell") == "cell-1"
        kill_classifier(running)
        wait_until(lambda: client.ask(b"/t/acme")[0] == 503)
        yield running


def path_rule(**more: Any) -> dict[str, Any]:
    return {
        "id": "path",
        "match": {"type": "path", "regexValue": "^/t/(?<t>[^/]+)"},
        "action": "classify",
        "classify": {"claims": [{"tenant": "${t}"}]},
    } | more


def rules(*items: dict[str, Any]) -> dict[str, Any]:
    return {"name": "test", "rules": list(items)}


def kill_classifier(system: System) -> None:
    for worker in system.plane.workers:
        os.kill(worker.pid, signal.SIGKILL)


FALLBACK = {"id": "last", "action": "proxy", "proxy": {"cell": "cell-3"}}


@pytest.mark.parametrize(
    ("policy", "status", "cell"),
    [
        (503, 503, None),
        (404, 404, None),
        ({"cell": "cell-2"}, 200, "cell-2"),
        ("next", 200, "cell-3"),
        ({"weighted": {"cell-1": 1}}, 200, "cell-1"),
    ],
)
def test_a_dead_classifier_gets_what_the_rule_says(
    without_classifier: System, policy: Any, status: int, cell: str | None
) -> None:
    system = without_classifier
    system.use_ruleset(rules(path_rule(on_classifier_down=policy), FALLBACK))
    with RawClient(system.edge_port) as client:
        answered = client.ask(b"/t/acme")
        assert (answered[0], answered[1].get("x-example-cell")) == (status, cell)
        if status == 503:
            assert answered[1]["retry-after"] == "5"
            assert json.loads(answered[2])["status"] == 503
        if cell is None:
            assert json.loads(answered[2])["reason"] == "classifier-down"
            assert answered[1]["x-cellway-tier"] == "classifier"
        forged = client.ask(b"/t/acme", [("x-envoy-auth-failure-mode-allowed", b"true")])
        assert forged[0] == status


def test_a_dead_classifier_over_grpc_is_named_as_the_tier_too(tmp_path: Path) -> None:
    user = {"type": "path", "regexValue": "^/u/(?<t>[^/]+)"}
    elsewhere = path_rule(on_classifier_down={"cell": "cell-2"}) | {"id": "user", "match": user}
    with started(tmp_path, classifier_protocol="grpc") as system:
        prepare(system)
        system.use_ruleset(rules(path_rule(on_classifier_down=503), elsewhere, FALLBACK))
        with RawClient(system.edge_port) as client:
            alive = client.ask(b"/t/acme")
            system.stop_plane()
            refused, served, native = (client.ask(path) for path in (b"/t/acme", b"/u/acme", b"/"))
    tiers = [one[1]["x-cellway-tier"] for one in (alive, refused, served, native)]
    assert tiers == ["classifier", "classifier", "classifier", "native"]
    assert [one[0] for one in (alive, refused, served, native)] == [200, 503, 200, 200]
    assert served[1]["x-example-cell"] == "cell-2"


def test_a_refusal_says_why(system: System) -> None:
    def reason(path: bytes, *headers: tuple[str, bytes]) -> tuple[int, str]:
        status, _, body = client.ask(path, list(headers))
        problem = json.loads(body)
        assert problem["status"] == status
        assert problem["title"].startswith("cellway: ")
        return status, problem["reason"]

    session = {"type": "SESSION_PREFIX", "value": "${p}"}
    keyed = {
        "id": "session",
        "match": {"type": "cookie", "name": "^s$", "regexValue": "^(?<p>.+)$"},
        "action": "classify",
        "classify": session,
        "on_unknown": {"status": 404},
    }
    claimed = path_rule(on_unknown={"status": 410})
    system.use_ruleset(rules(keyed, claimed))
    system.claim("cell-3", "tenant:gone")
    system.write("PATCH", "/v1/cells/cell-3", {"state": "draining"}, **{"if-match": "*"})
    drained = "/v1/cells/cell-3?wait=fleet&timeout=20s&force=true&reason=test"
    system.write("PATCH", drained, {"state": "drained"}, **{"if-match": "*"})
    try:
        with RawClient(system.edge_port) as client:
            assert reason(b"/") == (404, "no-rule")
            assert reason(b"/", ("cookie", b"s=nobody")) == (404, "unknown")
            assert reason(b"/", ("cookie", b"s=cell-3")) == (503, "cell-down")
            assert reason(b"/t/nobody") == (410, "ruleset")
            assert reason(b"/t/gone") == (503, "cell-down")
            assert client.ask(b"/t/acme")[1]["x-example-cell"] == "cell-1"
    finally:
        system.write("PATCH", drained, {"state": "active"}, **{"if-match": "*"})
        system.use_ruleset("gitlab")


def test_native_routes_lose_nothing_when_classifier_and_control_plane_die(tmp_path: Path) -> None:
    with (
        started(tmp_path, classifier_workers=1, classifier_restart_s=0) as system,
        RawClient(system.edge_port) as client,
    ):
        prepare(system)
        kill_classifier(system)
        system.plane.xds.stop()
        for _ in range(300):
            answered = client.ask(b"/-/x", SESSION)
            assert answered[1].get("x-example-cell") == "cell-2", answered
        assert client.ask(b"/foo/x")[0] == 503


def test_a_dead_cell_gets_503_at_once_and_then_what_the_rule_says(tmp_path: Path) -> None:
    with System(tmp_path, cells=3, health_interval_s=0.2) as system:
        for name, port in system.cell_ports.items():
            system.add_cell(name, port, health_check_path="/ok")
        system.add_cell("cell-4", 1, health_check_path="/ok")
        by_session = {
            "id": "session",
            "match": {"type": "cookie", "name": "^s$", "regexValue": "^(?<p>.+)$"},
            "action": "classify",
            "classify": {"type": "SESSION_PREFIX", "value": "${p}"},
            "on_cell_down": {"cell": "cell-1"},
        }
        system.use_ruleset(rules(by_session, FALLBACK))
        with RawClient(system.edge_port) as client:

            def answered() -> bool:
                status, headers, _ = client.ask(b"/", [("cookie", b"s=cell-4")])
                assert status == 503 or headers["x-example-cell"] == "cell-1"
                return status == 200

            wait_until(answered)
            assert system.plane.topology.cells.get("cell-4").healthy is False
            # A pattern so plain that Envoy finds the key by itself.
            plain = {"type": "cookie", "name": "^s$", "regexValue": "^(?<p>cell-[0-9]+)-"}
            on = {"match": plain, "on_cell_down": "next", "on_unknown": 404}
            system.use_ruleset(rules(by_session | on, FALLBACK))
            dead = client.ask(b"/", [("cookie", b"s=cell-4-x")])
            unknown = client.ask(b"/", [("cookie", b"s=cell-77-x")])
        assert (dead[0], dead[1].get("x-example-cell")) == (200, "cell-3"), "next, not unknown"
        assert unknown[0] == 404


def test_a_changed_claim_counts_for_the_next_request(system: System) -> None:
    with RawClient(system.edge_port) as client:
        for number in range(20):
            name = f"new-{number}"
            system.claim("cell-2", f"route:{name}")
            assert client.ask(f"/{name}/x".encode())[1]["x-example-cell"] == "cell-2"
            system.write(
                "POST", "/v1/claims/release", {"claims": [{"bucket": "route", "value": name}]}
            )
            system.claim("cell-3", f"route:{name}")
            assert client.ask(f"/{name}/x".encode())[1]["x-example-cell"] == "cell-3"


def test_cells_come_and_go_under_load_without_an_error(system: System) -> None:
    with RawClient(system.edge_port) as client:
        for number in range(10):
            name = f"extra-{number}"
            system.add_cell(name, system.cell_ports["cell-1"])
            cookie = [("cookie", f"force-cell=cell-{number % 3 + 1}".encode())]
            for path in (b"/-/x", b"/foo/x", b"/explore"):
                assert client.ask(path, cookie)[0] == 200
                assert client.ask(path)[0] == 200
            for state in ("draining", "drained", "retired"):
                system.write(
                    "PATCH",
                    f"/v1/cells/{name}?wait=fleet&timeout=20s",
                    {"state": state},
                    **{"if-match": "*"},
                )
                assert client.ask(b"/explore")[0] == 200


def test_an_envoy_that_refuses_shows_its_words_and_keeps_what_it_had(system: System) -> None:
    before = system.plane.topology.revision()
    answer = system.api.post("/v1/cells?wait=fleet&timeout=20s", json=REFUSED_CELL)
    # It does not wait for the time-out: nobody mends it meanwhile.
    assert answer.elapsed.total_seconds() < 10
    assert (answer.status_code, answer.json()["code"]) == (502, "fleet-refused")
    assert answer.json()["nodes"] == ["local"]
    (refused,) = answer.json()["refused"]
    assert refused["node"] == "local"
    assert "cell:broken" in refused["error"]
    assert "ca.pem" in refused["error"]
    node = system.api.get("/v1/fleet").json()["items"][0]
    assert node["state"] == "NACKED"
    (cluster,) = (one for one in node["types"] if one["type"] == "Cluster")
    assert "ca.pem" in cluster["error"]
    assert cluster["rejected"] == ["cell:broken"]
    with RawClient(system.edge_port) as client:
        assert client.ask(b"/foo/x")[1]["x-example-cell"] == "cell-1"
        assert client.ask(b"/-/x", SESSION)[1]["x-example-cell"] == "cell-2"
    system.write(
        "PATCH", "/v1/cells/broken?wait=fleet&timeout=20s", {"tls": None}, **{"if-match": "*"}
    )
    assert system.api.get("/v1/fleet").json()["items"][0]["state"] == "SYNCED"
    assert system.plane.topology.revision() == before + 2


def test_bad_input_changes_nothing_at_the_edge(system: System) -> None:
    def fleet() -> Any:
        return system.api.get("/v1/fleet").json()["items"][0]["types"]

    before, revision = fleet(), system.plane.topology.revision()
    api = system.api
    claims = {"claims": [{"bucket": "route", "value": "foo", "cell": "cell-2"}]}
    bad = [
        api.put("/v1/rulesets/gitlab", json={"name": "x", "rules": [{"id": "a"}]}),
        api.put("/v1/rulesets/gitlab", content=b"{" * 100),
        api.put("/v1/rulesets/gitlab", content=b"{" * 100, headers=JSON),
        api.post("/v1/rulesets/gitlab/activate", json={"version": 99}),
        api.post("/v1/claims", json=claims),
        api.post("/v1/cells", json={"name": "x", "address": "http://x", "endpoints": ["nowhere"]}),
        api.get("/v1/cells/nowhere"),
        api.put("/v1/cells/cell-1", json={}, headers={"if-match": '"1"'}),
        api.patch("/v1/cells/cell-1", json={"weight": 5}),
        api.patch("/v1/cells/cell-1", json={"weight": 5}, headers={"if-match": '"99999"'}),
        api.patch("/v1/cells/cell-1", json={"wieght": 5}, headers={"if-match": "*"}),
        api.post("/v1/claims", content=b"x" * 10_000_000),
    ]
    statuses = [answer.status_code for answer in bad]
    assert statuses == [422, 415, 400, 404, 409, 422, 404, 422, 428, 412, 422, 413]
    for answer in bad:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]
    assert (fleet(), system.plane.topology.revision()) == (before, revision)
