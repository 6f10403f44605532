"""A real fault of an edge or of a control plane makes its alert fire; without it none does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from control_plane.classifier.worker import supervisor
from control_plane.names import CDS
from control_plane.topology import Topology
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.endpoint_policy import EndpointPolicy
from tests.deploy.plane_thread import TOKEN, PlaneThread
from tests.deploy.runbook import Runbook
from tests.deploy.watch import Watch
from tests.support.child_process import frozen
from tests.support.conditions import wait_until
from tests.support.plane import add_cell, route_all
from tests.support.ports import unused_port
from tests.support.system import REFUSED_CELL, RULESETS, System


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("alerts")
    settings = {"classifier_workers": 1, "classifier_restart_s": 0.3, "health_interval_s": 0.2}
    with System(directory, cells=2, **settings) as running:
        # Probes are believed only if most cells with a path for them answer.
        for name, port in running.cell_ports.items():
            running.add_cell(name, port, health_check_path="/ok")
        running.use_ruleset("gitlab")
        yield running


@pytest.fixture(scope="module")
def runbook(system: System) -> Callable[[str], Runbook]:
    """Pages as an operator of this system follows them."""
    return lambda page: Runbook(page, str(system.api.base_url))


@pytest.fixture
def watch(system: System) -> Watch:
    """A watch over a system that is well, in which no alert fires."""
    one = Watch(lambda: system.api.get("/metrics").text)
    wait_until(one.is_calm)
    one.scrape()
    return one


def test_an_envoy_that_refuses(
    system: System, watch: Watch, runbook: Callable[[str], Runbook]
) -> None:
    system.write("POST", "/v1/cells", REFUSED_CELL)
    assert watch.sees("CellwayNodesNacked") == {"CellwayNodesNacked"}
    page = runbook("nodes-nacked")
    assert "/nonexistent/ca.pem" in page.follow("cellway fleet status -o json")
    assert "broken" in page.follow("cellway audit --limit 20")
    assert '"before"' in page.follow("cellway audit --kind cell -o json")
    page.follow("curl -s -X PATCH", NAME="broken")
    watch.ends("CellwayNodesNacked")


def test_an_envoy_that_hangs(
    system: System, watch: Watch, runbook: Callable[[str], Runbook]
) -> None:
    with frozen(system.envoy_pid):
        system.write("PATCH", "/v1/cells/cell-2", {"weight": 7}, **{"if-match": "*"})
        assert watch.sees("CellwayNodesStale") == {"CellwayNodesStale"}
        assert "STALE" in runbook("nodes-stale").follow("cellway fleet status")
        gone = runbook("nodes-gone")
        assert gone.follow("ps -o stat=", PID=str(system.envoy_pid)).startswith("T")
    for page in ("nodes-stale", "nodes-gone"):
        assert "control_plane.connected_state" in runbook(page).follow(
            "curl -s --unix-socket ADMIN 'http://envoy/stats?filter=control_plane'",
            ADMIN=system.admin.socket,
        )
    watch.ends("CellwayNodesStale")


def test_an_envoy_that_dies(
    system: System, watch: Watch, runbook: Callable[[str], Runbook]
) -> None:
    os.kill(system.envoy_pid, signal.SIGKILL)
    assert watch.sees("CellwayNodesGone") == {"CellwayNodesGone"}
    page = runbook("nodes-gone")
    assert "DISCONNECTED" in page.follow("cellway fleet status")
    system.restart_envoy()
    admin = system.admin.socket
    wait_until(lambda: "LIVE" in page.follow("curl -s --max-time 2", ADMIN=admin))
    watch.ends("CellwayNodesGone")


def test_an_old_envoy(system: System, watch: Watch, runbook: Callable[[str], Runbook]) -> None:
    over = threading.Event()
    node = base_pb2.Node(id="old", cluster="edge", user_agent_name="envoy")
    node.user_agent_build_version.version.major_number = 1
    node.user_agent_build_version.version.minor_number = 30

    def requests() -> Iterator[Any]:
        yield discovery_pb2.DeltaDiscoveryRequest(node=node, type_url=CDS)
        over.wait(60)

    with grpc.insecure_channel(f"127.0.0.1:{system.plane.ports.grpc}") as channel:
        stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel)
        call = stub.DeltaAggregatedResources(requests())
        next(call)
        assert "CellwayNodesOutdated" in watch.sees("CellwayNodesOutdated")
        assert "1.30.0" in runbook("nodes-outdated").follow("cellway fleet status")
        call.cancel()
        over.set()
    wait_until(lambda: watch.holds("CellwayNodesGone"))
    # It is not coming back, which an operator waits for and a test does not.
    system.plane.fleet.found_elsewhere(["old"])


def test_a_cell_that_is_down(
    system: System, watch: Watch, runbook: Callable[[str], Runbook]
) -> None:
    port = unused_port()
    system.add_cell("dead", port, health_check_path="/ok")
    assert watch.sees("CellwayCellDown") == {"CellwayCellDown"}
    page = runbook("cell-down")
    page.follow("cellway fleet status")
    assert "health" in page.follow("cellway audit --kind cell")
    assert "/ok" in page.follow("cellway cells get", NAME="dead")
    page.follow("curl -s --unix-socket", ADMIN=system.admin.socket, NAME="dead")
    alive = f"127.0.0.1:{system.cell_ports['cell-1']}"
    words = {"ENDPOINT": alive, "HEALTH_CHECK_PATH": "ok", "ADDRESS": "cell-1.example.com"}
    assert "200 OK" in page.follow("curl -si", **words)
    page.follow("cellway cells set", NAME="dead")
    assert watch.holds("CellwayCellDown"), "its tenants are still there"
    for state in ("drained", "retired"):
        path = "/v1/cells/dead?force=true"
        system.write("PATCH", path, {"state": state}, **{"if-match": "*"})
    watch.ends("CellwayCellDown")


def test_a_classifier_that_hangs(
    system: System,
    watch: Watch,
    runbook: Callable[[str], Runbook],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "HUNG_S", 2.0)
    url = f"http://127.0.0.1:{system.plane.ports.classifier}/"
    assert httpx.get(url, trust_env=False, timeout=20).status_code == 403, "it has begun"
    (worker,) = system.plane.workers
    os.kill(worker.pid, signal.SIGSTOP)
    assert watch.sees("CellwayClassifierDown") == {"CellwayClassifierDown"}
    page = runbook("classifier-down")
    assert page.follow("ps -o", PID=str(worker.pid)).startswith("T")
    page.follow("kill -9", PID=str(worker.pid))
    wait_until(lambda: system.plane.workers[0].pid != worker.pid)
    watch.ends("CellwayClassifierDown")


def test_classifiers_that_die_again_and_again(
    system: System, watch: Watch, runbook: Callable[[str], Runbook]
) -> None:
    for number in range(4):
        (worker,) = system.plane.workers
        os.kill(worker.pid, signal.SIGKILL)
        wait_until(lambda: watch.holds("CellwayClassifierDown"))
        # The pause before a restart doubles, and the last one is long enough to watch.
        if number == 3:
            assert "CellwayClassifierDown" in watch.sees("CellwayClassifierDown")
        watch.ends("CellwayClassifierDown")
        watch.scrape()
    assert "CellwayClassifierRestarts" in watch.firing()
    page = runbook("classifier-down")
    page.follow("curl -s --unix-socket ADMIN", ADMIN=system.admin.socket)
    watch.ends("CellwayClassifierRestarts")


def test_no_ruleset(tmp_path: Path) -> None:
    with PlaneThread(tmp_path) as plane:
        add_cell(plane.plane.topology)
        watch = Watch(plane.scraped)
        assert watch.sees("CellwayNoActiveRuleset") == {"CellwayNoActiveRuleset"}
        page = Runbook("no-active-ruleset", plane.url, CELLWAY_TOKEN=TOKEN)
        page.follow("cellway rules list")
        page.follow("cellway audit --limit 20")
        file = str(RULESETS / "generic.json")
        page.follow("cellway rules apply", FILE=file)
        watch.ends("CellwayNoActiveRuleset")
        page.follow("cellway rules rollback", yes=True, NAME="generic", N="1")


def test_a_cell_where_none_may_be(tmp_path: Path) -> None:
    nothing_denied = EndpointPolicy(denied=())
    topology = Topology.open(f"sqlite:///{tmp_path}/p.db", endpoint_policy=nothing_denied)
    add_cell(topology, "metadata", endpoints=(Endpoint("169.254.169.254", 80),))
    route_all(topology)
    topology.close()
    with PlaneThread(tmp_path) as plane:
        watch = Watch(plane.scraped)
        assert watch.sees("CellwayEndpointsDenied") == {"CellwayEndpointsDenied"}
        page = Runbook("endpoints-denied", plane.url, CELLWAY_TOKEN=TOKEN)
        assert "169.254.169.254" in page.follow("cellway cells list")
        page.follow("cellway audit --kind cell")
        page.follow("cellway cells set", NAME="metadata", ENDPOINT="127.0.0.1:1")
        watch.ends("CellwayEndpointsDenied")
