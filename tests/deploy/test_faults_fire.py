"""A real fault of an edge or of a control plane makes its alert fire; without it none does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from control_plane.names import CDS
from control_plane.topology import Topology
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.endpoint_policy import EndpointPolicy
from tests.deploy.promql import History, evaluate
from tests.deploy.watch import ALERTS, STEP_S, Watch, read
from tests.support.child_process import frozen
from tests.support.conditions import wait_until
from tests.support.plane import add_cell, plane_with, route_all
from tests.support.ports import unused_port
from tests.support.system import REFUSED_CELL, System


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


@pytest.fixture
def watch(system: System) -> Watch:
    """A watch over a system that is well, in which no alert fires."""
    one = Watch(lambda: system.api.get("/metrics").text)
    wait_until(one.is_calm)
    one.scrape()
    return one


def test_an_envoy_that_refuses(system: System, watch: Watch) -> None:
    system.write("POST", "/v1/cells", REFUSED_CELL)
    assert watch.sees("CellwayNodesNacked") == {"CellwayNodesNacked"}
    system.write("PATCH", "/v1/cells/broken", {"tls": None}, **{"if-match": "*"})


def test_an_envoy_that_hangs(system: System, watch: Watch) -> None:
    with frozen(system.envoy_pid):
        system.write("PATCH", "/v1/cells/cell-2", {"weight": 7}, **{"if-match": "*"})
        assert watch.sees("CellwayNodesStale") == {"CellwayNodesStale"}


def test_an_envoy_that_dies(system: System, watch: Watch) -> None:
    os.kill(system.envoy_pid, signal.SIGKILL)
    assert watch.sees("CellwayNodesGone") == {"CellwayNodesGone"}
    system.restart_envoy()


def test_an_old_envoy(system: System, watch: Watch) -> None:
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
        call.cancel()
        over.set()
    wait_until(lambda: watch.holds("CellwayNodesGone"))
    # It is not coming back, which an operator waits for and a test does not.
    system.plane.fleet.found_elsewhere(["old"])


def test_a_cell_that_is_down(system: System, watch: Watch) -> None:
    system.add_cell("dead", unused_port(), health_check_path="/ok")
    assert watch.sees("CellwayCellDown") == {"CellwayCellDown"}
    for state in ("draining", "drained", "retired"):
        path = "/v1/cells/dead?force=true"
        system.write("PATCH", path, {"state": state}, **{"if-match": "*"})


def test_classifiers_that_die_again_and_again(system: System, watch: Watch) -> None:
    for number in range(4):
        (worker,) = system.plane.workers
        os.kill(worker.pid, signal.SIGKILL)
        wait_until(lambda: watch.holds("CellwayClassifierDown"))
        # The pause before a restart doubles, and the last one is long enough to watch.
        if number == 3:
            assert "CellwayClassifierDown" in watch.sees("CellwayClassifierDown")
        wait_until(lambda: not watch.holds("CellwayClassifierDown"))
        watch.scrape()
    assert "CellwayClassifierRestarts" in watch.firing()


@contextlib.asynccontextmanager
async def watched(directory: Path) -> AsyncIterator[tuple[Any, httpx.AsyncClient, list[str]]]:
    """Run a control plane in this event loop; yield it, its client, and a list of scrapes."""
    async with plane_with(directory) as (plane, client):
        texts: list[str] = [(await client.get("/metrics")).text]
        yield plane, client, texts


def firing(texts: list[str], alert: str) -> set[str]:
    """Return what fires, if the last of some scrapes goes on for as long as an alert takes."""
    rest = iter(texts)
    watch = Watch(lambda: next(rest, texts[-1]))
    for _ in texts:
        watch.scrape()
    watch.stay(alert)
    return watch.firing()


async def test_no_ruleset(tmp_path: Path) -> None:
    async with watched(tmp_path) as (plane, client, texts):
        assert firing(texts, "CellwayNoActiveRuleset") == {"CellwayNoActiveRuleset"}
        add_cell(plane.topology)
        route_all(plane.topology)
        texts[:] = [(await client.get("/metrics")).text]
        assert firing(texts, "CellwayNoActiveRuleset") == set()


async def test_an_event_loop_that_is_held(tmp_path: Path) -> None:
    async with watched(tmp_path) as (plane, client, texts):
        route_all(plane.topology)
        texts[:] = [(await client.get("/metrics")).text]
        for _ in range(7):
            time.sleep(0.3)  # noqa: ASYNC251 - this is the fault
            await asyncio.sleep(0.1)
        texts.append((await client.get("/metrics")).text)
        history = History([(0, read(texts[0])), (STEP_S, read(texts[1]))])
        assert evaluate(ALERTS["CellwayEventLoopLags"]["expr"], history)


async def test_a_cell_where_none_may_be(tmp_path: Path) -> None:
    nothing_denied = EndpointPolicy(denied=())
    url = f"sqlite:///{tmp_path}/p.db"
    topology = Topology.open(url, endpoint_policy=nothing_denied)
    add_cell(topology, "metadata", endpoints=(Endpoint("169.254.169.254", 80),))
    route_all(topology)
    topology.close()
    async with watched(tmp_path) as (_, _, texts):
        assert "CellwayEndpointsDenied" in firing(texts, "CellwayEndpointsDenied")


def test_no_control_plane() -> None:
    assert firing(["", ""], "CellwayControlPlaneAbsent") == {"CellwayControlPlaneAbsent"}
