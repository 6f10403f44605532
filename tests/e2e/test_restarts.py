"""Parts die and come back under a real Envoy: nothing is pushed twice, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from control_plane.compiler.bootstrap import FleetMember, compile_bootstrap
from control_plane.publisher.variants import MODULE_VARIANT
from control_plane.topology import Topology
from control_plane.topology.values.endpoint import Endpoint
from control_plane.xds.variants import PLAIN
from tests.e2e.echo_upstream import EchoUpstream
from tests.e2e.load import Answer, Load, get
from tests.e2e.restarts import AMBIGUOUS, NATIVE, ROUTES_SENT, TAKEN_UP
from tests.support.conditions import wait_until
from tests.support.envoy_process import EnvoyProcess
from tests.support.plane_process import PlaneProcess
from tests.support.raw_client import RawClient
from tests.support.system import RULESETS, System, reconnecting_soon

RECONNECTS = r"cluster_manager\.cds\.update_failure"


def prepare(system: System) -> None:
    system.add_cells()
    system.claim("cell-1", "route:foo")
    system.use_ruleset("gitlab")
    system.in_step()


@pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])
def test_a_restarted_control_plane_pushes_nothing_that_envoy_has(
    tmp_path: Path, delta: bool
) -> None:
    with System(tmp_path, delta=delta) as system:
        prepare(system)
        all_of_it = system.plane.xds.sent_resource_bytes
        before, routes = system.stats(TAKEN_UP), system.stats(ROUTES_SENT)
        failures = sum(system.stats(RECONNECTS).values())
        assert len(before) >= 10
        system.stop_plane()
        wait_until(lambda: sum(system.stats(RECONNECTS).values()) > failures)
        system.start_plane()
        system.in_step()
        (node,) = system.api.get("/v1/fleet").json()["items"]
        assert (node["state"], node["connected"]) == ("SYNCED", True)
        assert node["acked_revision"] == system.plane.topology.revision()
        assert system.stats(TAKEN_UP) == before
        if delta:
            assert system.plane.xds.sent_resource_bytes == 0
            assert system.stats(ROUTES_SENT) == routes
        else:
            # Resources that are asked for by name are sent again; Envoy sees that it has them.
            assert system.plane.xds.sent_resource_bytes < all_of_it
        # Another restart, during which somebody else changes a cell: this change alone is sent.
        system.stop_plane()
        other = Topology.open(f"sqlite:///{tmp_path}/cellway.db")
        endpoints = (Endpoint("127.0.0.1", system.cell_ports["cell-3"]),)
        moved = replace(other.cells.get("cell-1").spec(), endpoints=endpoints)
        other.cells.replace("cell-1", moved, actor="somebody else")
        other.close()
        system.start_plane()
        system.in_step()
        with RawClient(system.edge_port) as client:
            assert client.ask(b"/foo/x")[1]["x-example-cell"] == "cell-3"
        if delta:
            # One cluster, and the filter that shows the revision.
            assert 0 < system.plane.xds.sent_resource_bytes < 1500
        after = system.stats(TAKEN_UP)
        assert after["cluster_manager.cluster_modified"] == 1
        changed = {name for name in after if after[name] != before[name]}
        assert all(name.startswith("cluster_manager.") for name in changed), changed


@pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])
def test_a_restarted_envoy_gets_everything(tmp_path: Path, delta: bool) -> None:
    with System(tmp_path, delta=delta) as system:
        prepare(system)
        snapshot = system.plane.xds.cache.newest_of(MODULE_VARIANT if system.module else PLAIN)
        whole = sum(
            len(resource.body)
            for type_url in snapshot.types
            for resource in snapshot.of_type(type_url).values()
        )
        for _ in range(2):
            sent = system.plane.xds.sent_resource_bytes
            system.restart_envoy()
            system.in_step()
            assert system.plane.xds.sent_resource_bytes - sent == whole
            with RawClient(system.edge_port) as client:
                assert client.ask(b"/foo/x")[1]["x-example-cell"] == "cell-1"
                cookie = [("cookie", b"_gitlab_session=cell-2-a")]
                assert client.ask(b"/-/x", cookie)[1]["x-example-cell"] == "cell-2"


@contextmanager
def killable(directory: Path) -> Iterator[tuple[PlaneProcess, EnvoyProcess]]:
    """Run two cells, a control plane in processes of its own, and an Envoy that is in step."""
    with ExitStack() as stack:
        cells = [stack.enter_context(EchoUpstream()) for _ in range(2)]
        plane = stack.enter_context(PlaneProcess(directory))
        for number, cell in enumerate(cells, 1):
            plane.write(
                "POST",
                "/v1/cells",
                {
                    "name": f"cell-{number}",
                    "address": f"cell-{number}.example.com",
                    "endpoints": [f"127.0.0.1:{cell.port}"],
                    "session_prefix": f"cell-{number}",
                    "state": "active",
                },
            )
        claim = {"bucket": "route", "value": "foo", "cell": "cell-1"}
        plane.write("POST", "/v1/claims", {"claims": [claim]})
        gitlab = json.loads((RULESETS / "gitlab.json").read_text())
        stored = plane.write("PUT", "/v1/rulesets/gitlab", gitlab)["ruleset"]
        plane.write("POST", "/v1/rulesets/gitlab/activate", {"version": stored["version"]})
        member = FleetMember("n1", "edge", ("127.0.0.1", plane.grpc_port), ("127.0.0.1", 0))
        bootstrap = json.loads(reconnecting_soon(compile_bootstrap(member)))
        envoy = stack.enter_context(EnvoyProcess(bootstrap, directory))
        wait_until(lambda: plane.api.get("/v1/fleet").json()["items"][0]["state"] == "SYNCED")
        yield plane, envoy


@pytest.mark.slow
def test_killed_under_load_native_routes_lose_nothing_and_others_get_what_their_rule_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The edge cache would go on answering for the names that it knows.
    monkeypatch.setenv("CELLWAY_EDGE_CACHE_ENTRIES", "0")
    native, ambiguous = Answer("native", 200, "cell-2"), Answer("ambiguous", 200, "cell-1")
    refused = Answer("ambiguous", 503, "")
    with killable(tmp_path) as (plane, envoy):
        load = Load(plane.edge_port, {"native": NATIVE, "ambiguous": AMBIGUOUS})
        with load:
            load.go_on(200)
            assert load.seen().keys() == {native, ambiguous}
            # The control plane alone: the classifiers decide on from the database.
            plane.kill()
            load.go_on(300)
            assert load.take().keys() == {native, ambiguous}
            plane.kill_classifiers()
            wait_until(lambda: load.seen()[refused] > 0)
            load.go_on(300)
            died = load.take()
            assert died.keys() <= {native, ambiguous, refused}
            load.go_on(200)
            assert load.take().keys() == {native, refused}
            taken_up = envoy.stats(TAKEN_UP)
            plane.start()
            wait_until(lambda: load.seen()[ambiguous] > 0)
            wait_until(lambda: plane.api.get("/v1/fleet").json()["items"])
            assert load.take().keys() <= {native, ambiguous, refused}
            load.go_on(200)
            assert load.take().keys() == {native, ambiguous}
            assert envoy.stats(TAKEN_UP) == taken_up


PASSING = {
    "name": "passing",
    "rules": [
        {
            "id": "session",
            "match": {"type": "cookie", "name": "^s$", "regexValue": "^(?<cell>cell-[0-9])"},
            "action": "classify",
            "classify": {"type": "SESSION_PREFIX", "value": "${cell}"},
            "on_unknown": "next",
            "on_cell_down": "next",
        },
        {
            "id": "tenant",
            "match": {"type": "path", "regexValue": "^/t/(?<tenant>[^/]+)"},
            "action": "classify",
            "classify": {"claims": [{"tenant": "${tenant}"}]},
            "on_unknown": "next",
            "on_cell_down": "next",
        },
        {"id": "last", "action": "proxy", "proxy": {"cell": "cell-1"}},
    ],
}


def test_cells_come_and_go_under_load_without_a_503(tmp_path: Path) -> None:
    """Requests for the cell itself go to the next rule before it comes and after it has gone."""
    requests = {
        "native": get(b"/", b"s=cell-2"),
        "ambiguous": get(b"/t/acme"),
        "native passing": get(b"/", b"s=cell-9"),
        "ambiguous passing": get(b"/t/passing"),
    }
    with System(tmp_path) as system:
        prepare(system)
        system.use_ruleset(PASSING)
        system.claim("cell-2", "tenant:acme")
        with RawClient(system.edge_port) as client:
            native = client.ask(b"/", [("cookie", b"s=cell-2")])[1]
            assert (native["x-cellway-tier"], native["x-cellway-cell"]) == ("native", "cell-2")
        with Load(system.edge_port, requests) as load:
            load.go_on(40)
            for _ in range(8):
                system.add_cell("cell-9", system.cell_ports["cell-3"])
                system.claim("cell-9", "tenant:passing")
                load.go_on(40)
                for state in ("draining", "drained", "retired"):
                    path = "/v1/cells/cell-9?wait=fleet&timeout=20s"
                    system.write("PATCH", path, {"state": state}, **{"if-match": "*"})
                    load.go_on(20)
                    if state == "draining":
                        release = {"claims": [{"bucket": "tenant", "value": "passing"}]}
                        system.write("POST", "/v1/claims/release", release)
                system.write("DELETE", "/v1/cells/cell-9", **{"if-match": "*"})
            answers = load.seen()
    expected = {("native", "cell-2"), ("ambiguous", "cell-2")}
    for name in ("native passing", "ambiguous passing"):
        expected |= {(name, "cell-9"), (name, "cell-1")}
    assert answers.keys() == {Answer(name, 200, cell) for name, cell in expected}, answers
