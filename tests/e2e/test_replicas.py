"""Two control planes over one PostgreSQL, with a real Envoy: either may write, die or hear nothing.

One is `cellway serve` in processes of its own; the other is in this process and has the Envoy.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.compiler.bootstrap import FleetMember, compile_bootstrap
from control_plane.jobs.notifications import CommitNotifications
from control_plane.server import composition
from control_plane.topology import Topology
from control_plane.topology.values.claim import ClaimSpec
from tests.e2e.echo_upstream import EchoUpstream
from tests.support.conditions import wait_until
from tests.support.envoy_process import EnvoyProcess
from tests.support.plane_process import PlaneProcess
from tests.support.postgres import Postgres, postgres
from tests.support.raw_client import RawClient
from tests.support.system import RULESETS, System, reconnecting_soon

SESSION = [("cookie", b"_gitlab_session=cell-1-a")]


class Wayward(CommitNotifications):
    """Passes wake-ups on, or drops them, or passes them late, twice, in disorder, with nonsense."""

    mode = "as they come"

    def __init__(self, topology: Topology) -> None:
        super().__init__(topology)
        self._held: list[str] = []

    def heard(self, payload: str) -> None:
        if self.mode == "as they come":
            super().heard(payload)
        elif self.mode == "unruly":
            self._held.append(payload)
            self._let_go()

    def _let_go(self) -> None:
        if len(self._held) == 3:
            loop = asyncio.get_running_loop()
            for number, late in enumerate([*reversed(self._held), *self._held, "0", "9" * 18, "x"]):
                loop.call_later(0.05 * number, super().heard, late)
            self._held.clear()


@dataclass(frozen=True, slots=True)
class Replicas:
    """``ours`` has the Envoy and the cells; ``theirs`` is a command."""

    database: Postgres
    url: str
    ours: System
    theirs: PlaneProcess


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(composition, "CommitNotifications", Wayward)
        patch.setenv("CELLWAY_HEALTH_INTERVAL_S", "0.5")
        server = stack.enter_context(postgres())
        url = stack.enter_context(server.database("replicas"))
        directory = tmp_path_factory.mktemp("ours")
        ours = stack.enter_context(System(directory, database_url=url))
        arguments = ("--database-url", url, "--classifier-workers", "1")
        directory = tmp_path_factory.mktemp("theirs")
        theirs = stack.enter_context(PlaneProcess(directory, *arguments))
        in_step(ours, load_through(theirs, ours))
        yield Replicas(server, url, ours, theirs)


def described(name: str, port: int) -> dict[str, Any]:
    return {
        "name": name,
        "address": f"{name}.example.com",
        "endpoints": [f"127.0.0.1:{port}"],
        "session_prefix": name,
        "state": "active",
    }


def load_through(theirs: PlaneProcess, ours: System) -> int:
    """Write cells, a claim and GitLab's rules through the other replica; return the revision."""
    for name, port in ours.cell_ports.items():
        theirs.write("POST", "/v1/cells", described(name, port))
    claim = {"bucket": "route", "value": "foo", "cell": "cell-1", "subject": "foo"}
    theirs.write("POST", "/v1/claims", {"claims": [claim]})
    gitlab = json.loads((RULESETS / "gitlab.json").read_text())
    theirs.write("PUT", "/v1/rulesets/gitlab", gitlab)
    done = theirs.write("POST", "/v1/rulesets/gitlab/activate", {"version": 1})
    return int(done["revision"])


def acked(system: System) -> int:
    (node,) = system.api.get("/v1/fleet").json()["items"]
    return int(node["acked_revision"])


def in_step(system: System, revision: int) -> None:
    """Wait until the Envoy runs at least this revision."""
    wait_until(lambda: acked(system) >= revision)


def ready(api: httpx.Client, status: int) -> None:
    wait_until(lambda: api.get("/readyz").status_code == status)


def serves(system: System, path: bytes, cell: str) -> None:
    wait_until(lambda: served_by(system, path, SESSION) == cell)


class Writers:
    """Four clients that claim pairs of names through one replica until `stop`."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self.acknowledged: list[str] = []
        """The names whose claims were acknowledged."""
        self._threads = [threading.Thread(target=self._write, daemon=True) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def go_on(self, more: int) -> None:
        goal = len(self.acknowledged) + more
        wait_until(lambda: len(self.acknowledged) >= goal)

    def _write(self) -> None:
        with httpx.Client(base_url=self._base, timeout=20, trust_env=False) as api:
            while not self._stop.is_set():
                name = f"pair-{next(self._numbers)}"
                pair = [
                    {"bucket": bucket, "value": name, "cell": "cell-2"}
                    for bucket in ("route", "username")
                ]
                try:
                    answer = api.post("/v1/claims", json={"claims": pair})
                except httpx.TransportError:
                    time.sleep(0.02)
                    continue
                if answer.status_code == 201:
                    self.acknowledged.append(name)


def values_of(topology: Topology, bucket: str) -> set[str]:
    values: set[str] = set()
    after: tuple[str, str] | None = None
    while page := topology.claims.page(bucket=bucket, after=after, limit=1000):
        values.update(claim.value for claim in page)
        after = (bucket, page[-1].value)
    return values


def revisions_of(topology: Topology) -> list[int]:
    revisions: list[int] = []
    while page := topology.changes.since(revisions[-1] if revisions else 0):
        revisions += [change.revision for change in page]
    return revisions


def served_by(system: System, path: bytes, headers: list[tuple[str, bytes]] | None = None) -> str:
    with RawClient(system.edge_port) as client:
        return str(client.ask(path, headers or [])[1].get("x-example-cell", ""))


def test_a_commit_is_heard_of_at_once(replicas: Replicas) -> None:
    writer, listener = (Topology.open(replicas.url, migrate_first=False) for _ in range(2))

    async def listen() -> int:
        heard: asyncio.Queue[int] = asyncio.Queue()
        listener.subscribe(heard.put_nowait)
        task = asyncio.create_task(CommitNotifications(listener).run())
        async with asyncio.timeout(30):
            while heard.empty():
                # Notifications of before the listener is there are lost.
                claim = ClaimSpec("tenant", f"t{writer.revision()}", "cell-1")
                await asyncio.to_thread(writer.claims.claim, [claim], actor="test")
                await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return heard.get_nowait()

    before = writer.revision()
    assert before < asyncio.run(listen()) <= writer.revision()
    writer.close()
    listener.close()


@pytest.mark.parametrize("mode", ["as they come", "lost", "unruly"])
def test_what_one_replica_commits_reaches_the_envoys_of_another(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(Wayward, "mode", mode)
    ours, theirs = replicas.ours, replicas.theirs
    published: list[int] = []
    cache = ours.plane.xds.cache
    keep = cache.set

    def noted(snapshot: Any, *more: Any, **named: Any) -> None:
        published.append(snapshot.revision)
        keep(snapshot, *more, **named)

    monkeypatch.setattr(cache, "set", noted)
    assert served_by(ours, b"/foo/x") == "cell-1"
    cells = ["cell-2", "cell-3", "cell-1"]
    for source, target in zip(["cell-1", *cells], cells, strict=False):
        move = {"subject": {"text": "foo"}, "source": source, "target": target, "reason": "t"}
        done = theirs.write("POST", "/v1/claims/transfer", move)
        in_step(ours, done["revision"])
        # Decisions ask the database.
        assert served_by(ours, b"/foo/x") == target
    for target in cells:
        moved = {"endpoints": [f"127.0.0.1:{ours.cell_ports[target]}"]}
        done = theirs.write("PATCH", "/v1/cells/cell-1", moved, **{"if-match": "*"})
        in_step(ours, done["revision"])
        serves(ours, b"/-/x", target)
    # The replicas write in turn: nothing is published twice, and no revision goes back.
    for number in range(4):
        writer = (ours, theirs)[number % 2]
        patch = {"weight": len(mode) * 10 + number}
        done = writer.write("PATCH", "/v1/cells/cell-2", patch, **{"if-match": "*"})
        in_step(ours, done["revision"])
        seen = theirs.api.get("/v1/cells/cell-2").json()
        assert (seen["weight"], seen["version"]) == (patch["weight"], done["revision"])
    assert published == sorted(set(published))
    assert len(published) >= 10
    path = "/v1/changes?since=0&limit=1000"
    assert ours.api.get(path).json() == theirs.api.get(path).json()


def test_serve_works_on_postgresql_from_end_to_end(replicas: Replicas, tmp_path: Path) -> None:
    """Envoy, classifier processes, health monitor and metrics, all over the database's URL."""
    plane = replicas.theirs
    with ExitStack() as stack:
        dying = stack.enter_context(ExitStack())
        cells = [stack.enter_context(EchoUpstream()) for _ in range(2)]
        cells.append(dying.enter_context(EchoUpstream()))
        for number, cell in enumerate(cells, 1):
            body = described(f"probed-{number}", cell.port) | {"health_check_path": "/-/health"}
            plane.write("POST", "/v1/cells", body)
        claim = {"bucket": "route", "value": "probed", "cell": "probed-3"}
        plane.write("POST", "/v1/claims", {"claims": [claim]})
        member = FleetMember("n1", "edge", ("127.0.0.1", plane.grpc_port), ("127.0.0.1", 0))
        bootstrap = json.loads(reconnecting_soon(compile_bootstrap(member)))
        stack.enter_context(EnvoyProcess(bootstrap, tmp_path))
        wait_until(
            lambda: [n["state"] for n in plane.api.get("/v1/fleet").json()["items"]] == ["SYNCED"]
        )

        def asked(path: bytes) -> tuple[int, str]:
            with RawClient(plane.edge_port) as client:
                status, headers, _ = client.ask(path)
                return status, headers.get("x-cellway-cell", "")

        wait_until(lambda: asked(b"/probed/x") == (200, "probed-3"))
        # The monitor writes to the database, so every replica knows of a dead cell.
        dying.close()
        wait_until(lambda: replicas.ours.plane.topology.cells.get("probed-3").healthy is False)
        wait_until(lambda: asked(b"/probed/x")[0] == 503)
        lines = (
            'cellway_claims{bucket="route"} 2.0',
            'cellway_fleet_nodes{state="SYNCED"} 1.0',
            'cellway_cell_up{cell="probed-3"} 0.0',
            'cellway_classifier_workers{state="running"} 1.0',
        )
        wait_until(lambda: all(line in plane.api.get("/metrics").text for line in lines))
        metrics = plane.api.get("/metrics").text
        assert "cellway_classify_seconds_count" in metrics
        assert "cellway_db_seconds_count" in metrics


def test_a_replica_killed_while_it_writes_loses_nothing_that_it_acknowledged(
    replicas: Replicas,
) -> None:
    ours, theirs = replicas.ours, replicas.theirs
    writers = Writers(theirs.api_port)
    writers.go_on(100)
    theirs.kill()
    # The other goes on at once: no lock is left behind.
    alone = [{"bucket": "route", "value": "alone", "cell": "cell-1"}]
    ours.write("POST", "/v1/claims", {"claims": alone})
    theirs.start()
    writers.go_on(20)
    writers.stop()
    topology = ours.plane.topology
    names = values_of(topology, "username")
    assert set(writers.acknowledged) <= names, "what was acknowledged is there"
    whole = {name for name in values_of(topology, "route") if name.startswith("pair-")}
    assert whole == names, "nothing is half done"
    revisions = revisions_of(topology)
    assert revisions == sorted(revisions)
    assert sorted(set(revisions)) == list(range(1, topology.revision() + 1))
    in_step(ours, topology.revision())


def test_replicas_outlive_their_database(
    replicas: Replicas, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = replicas.ours, replicas.theirs
    with caplog.at_level(logging.ERROR):
        replicas.database.kill()
        wait_until(lambda: "the newest revision is not known" in caplog.text)
        ready(theirs.api, 503)
        ready(ours.api, 503)
        down = theirs.api.get("/v1/cells")
        assert (down.status_code, down.json()["code"]) == (503, "unavailable")
        # Native rules need no database.
        assert served_by(ours, b"/-/x", SESSION) == "cell-1"
        replicas.database.start()
        ready(ours.api, 200)
        ready(theirs.api, 200)
    done = theirs.write("PATCH", "/v1/cells/cell-2", {"weight": 3}, **{"if-match": "*"})
    in_step(ours, done["revision"])
    assert served_by(ours, b"/foo/x") == "cell-1"
