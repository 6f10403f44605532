"""``make soak``, part of it: faults of processes, disks and the network fire their alerts.

Each takes some seconds. What takes less is in `tests/deploy/test_…_faults.py`.
"""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.edge_module.build import build
from tests.deploy.edge_processes import EdgeProcesses, edge_processes
from tests.deploy.runbook import Runbook
from tests.deploy.watch import Watch
from tests.support.child_process import frozen
from tests.support.conditions import wait_until
from tests.support.edge_map import map_in_step
from tests.support.ports import unused_port
from tests.support.system import System

LOG_BYTES = 210_000_000


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcesses]:
    with edge_processes(tmp_path_factory.mktemp("edge")) as running:
        yield running


def limit_files(pid: int, size: int) -> None:
    """Let no file of a process grow beyond a size, as a full disk would; -1: as large as it may."""
    hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size < 0 else size, hard))


def test_a_control_plane_that_is_killed(edge: EdgeProcesses) -> None:
    watch = edge.watch()
    edge.plane.kill()
    assert "CellwayControlPlaneAbsent" in watch.sees("CellwayControlPlaneAbsent")
    page = edge.runbook("control-plane-absent")
    page.follow("cellway db check")
    page.follow("ss -ltnp")
    assert "CellwayEnvoyOnSnapshot" in watch.sees("CellwayEnvoyOnSnapshot")
    assert "Envoy waits for the control plane" in edge.agent.said()
    port = str(edge.agent.metrics_port)
    streams = edge.runbook("envoy-on-snapshot").follow("curl -s localhost", METRICS_PORT=port)
    assert 'from="waiting"} 1.0' in streams
    edge.plane.start()
    assert "ok" in page.follow("curl -s localhost:8000/healthz")
    edge.runbook("envoy-on-snapshot").follow("cellway fleet status")
    watch.ends("CellwayEnvoyOnSnapshot")
    watch.ends("CellwayControlPlaneAbsent")


def test_an_event_loop_that_is_stopped_again_and_again(edge: EdgeProcesses) -> None:
    watch = edge.watch()

    def stop_it() -> None:
        with frozen(edge.plane.pid):
            threading.Event().wait(0.35)  # this is the fault

    assert "CellwayEventLoopLags" in watch.sees("CellwayEventLoopLags", stop_it)
    page = edge.runbook("event-loop-lags")
    print(page.follow("curl -s localhost:8000/metrics"))
    page.follow("cellway audit --limit 20")
    watch.ends("CellwayEventLoopLags")


def test_classifiers_that_hang(edge: EdgeProcesses) -> None:
    watch = edge.watch()
    numbers = iter(range(100_000))
    with edge.plane.frozen(classifiers=True):
        ask = lambda: edge.ask(f"hung-{next(numbers)}")  # noqa: E731
        assert "CellwayClassifierUnreachable" in watch.sees("CellwayClassifierUnreachable", ask)
        assert "CellwayClassifierDown" in watch.sees("CellwayClassifierDown")
        (worker,) = edge.plane._workers
        assert edge.runbook("classifier-down").follow("ps -o", PID=str(worker)).startswith("T")
        page = edge.runbook("classifier-unreachable")
        assert "can't reach a classifier" in page.follow("cellway fleet status")
        print(page.follow("curl -s --unix-socket ADMIN", ADMIN=edge.admin))
    watch.ends("CellwayClassifierDown")
    watch.ends("CellwayClassifierUnreachable")


def test_a_wrong_address_of_the_classifier(edge: EdgeProcesses) -> None:
    watch = edge.watch()
    edge.plane.stop()
    wrong = ["--classifier-addresses", f"127.0.0.1:{unused_port()}"]
    edge.plane._arguments += wrong
    edge.plane.start()
    assert "CellwayClassifierUnreachable" in watch.sees("CellwayClassifierUnreachable")
    page = edge.runbook("classifier-unreachable")
    assert "can't reach a classifier" in page.follow("cellway fleet status")
    assert wrong[1] in page.follow("cellway fleet status -o json")
    assert "failed_active_hc" in page.follow("curl -s --unix-socket ADMIN", ADMIN=edge.admin)
    good = {"HOST": "127.0.0.1", "PORT": str(edge.plane.classifier_port)}
    assert "403 Forbidden" in page.follow("curl -v --max-time 3", **good)
    edge.plane.stop()
    del edge.plane._arguments[-2:]
    edge.plane.start()
    watch.ends("CellwayClassifierUnreachable")


def test_an_agent_whose_disk_is_full(edge: EdgeProcesses) -> None:
    watch = edge.watch()
    limit_files(edge.agent.pid, 4096)
    edge.change(11)
    assert watch.sees("CellwaySnapshotUnsaved") == {"CellwaySnapshotUnsaved"}
    assert "can't be written" in edge.agent.said()
    page = edge.runbook("snapshot-unsaved")
    page.follow("df -h", DIR=str(edge.agent.directory))
    limit_files(edge.agent.pid, -1)
    watch.ends("CellwaySnapshotUnsaved")
    edge.in_step()


def test_a_damaged_snapshot(edge: EdgeProcesses) -> None:
    watch = edge.watch()
    edge.agent.kill()
    newest = edge.agent.snapshots()[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    edge.agent.start()
    assert "CellwaySnapshotsBad" in watch.sees("CellwaySnapshotsBad")
    assert f"{newest} can't be used" in edge.agent.said()
    wait_until(lambda: newest not in edge.agent.snapshots())
    edge.runbook("snapshot-unsaved").follow("df -h", DIR=str(edge.agent.directory))
    # The alert stays for an hour, see tests/edge_agent/test_agent.py; another agent has none.
    edge.agent.stop()
    edge.agent.start()
    watch.ends("CellwaySnapshotsBad")


def test_a_full_disk(edge: EdgeProcesses) -> None:
    watch = edge.watch()
    limit_files(edge.plane.pid, 4096)
    assert edge.plane.api.post("/v1/cells", json={"name": "x"}).status_code >= 400
    refused = edge.plane.api.patch(
        "/v1/cells/cell-1", json={"weight": 12}, headers={"if-match": "*"}
    )
    assert refused.status_code == 503
    assert "CellwayDatabaseNotWritable" in watch.sees("CellwayDatabaseNotWritable")
    page = edge.runbook("database-not-writable")
    assert "has no room left" in page.follow("curl -s localhost:8000/readyz")
    limit_files(edge.plane.pid, -1)
    watch.ends("CellwayDatabaseNotWritable")


def test_a_program_that_reads_for_long(edge: EdgeProcesses) -> None:
    watch = edge.watch()
    reader = sqlite3.connect(edge.database, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM cells").fetchall()
    writer = sqlite3.connect(edge.database)
    writer.execute("CREATE TABLE written (content BLOB)")
    for _ in range(LOG_BYTES // 10_000_000):
        writer.execute("INSERT INTO written VALUES (randomblob(10000000))")
        writer.commit()
    assert "CellwayDatabaseLogLong" in watch.sees("CellwayDatabaseLogLong")
    page = edge.runbook("database-not-writable")
    assert str(os.getpid()) in page.follow("fuser -v", FILE=str(edge.database))
    writer.execute("DROP TABLE written")
    writer.commit()
    writer.close()
    reader.close()
    watch.ends("CellwayDatabaseLogLong")


def refuses_again(edge: EdgeProcesses) -> None:
    """Wait until the agent has refused the control plane once more, as it does every few seconds."""
    before = edge.agent.metric("cellway_agent_older_refused_total")
    wait_until(lambda: edge.agent.metric("cellway_agent_older_refused_total") > before)


def test_an_older_database_is_put_back(edge: EdgeProcesses, tmp_path: Path) -> None:
    edge.plane.stop()
    older = tmp_path / "older.db"
    shutil.copy(edge.database, older)
    edge.plane.start()
    edge.plane.write("POST", "/v1/cells/cell-1/sequences", {"size": 100})
    for weight in range(20, 25):
        edge.change(weight)
    edge.in_step()
    watch = edge.watch()
    edge.plane.stop()
    shutil.copy(older, edge.database)
    edge.plane.start()
    assert "CellwaySequencesRestored" in watch.sees("CellwaySequencesRestored")
    fires = watch.sees("CellwayOlderControlPlane", lambda: refuses_again(edge))
    assert "CellwayOlderControlPlane" in fires
    assert "this edge has had" in edge.agent.said()
    newest = int(edge.agent.metric("cellway_agent_snapshot_revision"))
    page = edge.runbook("envoy-on-snapshot")
    page.follow("cellway fleet status")
    page.follow("cellway db advance", yes=True, M=str(newest))
    watch.ends("CellwayOlderControlPlane")
    page = edge.runbook("sequence-runs-out")
    assert "ALARM" in page.follow("cellway cells sequences list")
    page.follow("cellway cells sequences confirm", yes=True)
    watch.ends("CellwaySequencesRestored")
    edge.change(30)
    edge.in_step()


def test_an_edge_whose_table_falls_behind(tmp_path: Path) -> None:
    with System(tmp_path, cells=2, module=build()) as system:
        system.add_cells()
        system.use_ruleset("generic")
        map_in_step(system)
        watch = Watch(lambda: system.api.get("/metrics").text)
        wait_until(lambda: not watch.holds("CellwayEdgeMapBehind"))
        watch.scrape()
        with frozen(system.envoy_pid):
            assert "CellwayEdgeMapBehind" in watch.sees("CellwayEdgeMapBehind")
            page = Runbook("edge-map-behind", str(system.api.base_url))
            assert "EDGE MAP" in page.follow("cellway fleet status")
        watch.ends("CellwayEdgeMapBehind")
