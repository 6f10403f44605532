"""Classifier processes: what they count is at /metrics, and what dies comes back."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import httpx
import pytest
from envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc

from control_plane.classifier.options import PortOptions
from control_plane.classifier.worker.directory import WORKER_MODULE
from control_plane.classifier.worker.supervisor import Workers
from control_plane.server import Running
from tests.support.conditions import until
from tests.support.plane import add_cell, asking, edge_metadata, plane_with, route_all, samples
from tests.support.ports import unused_port

DECIDED = ("cellway_decisions_total", (("outcome", "cell"), ("rule", "all")))
TIMED = ("cellway_classify_seconds_count", (("outcome", "cell"), ("tier", "classifier")))
RUNNING = ("cellway_classifier_workers", (("state", "running"),))
WANTED = ("cellway_classifier_workers", (("state", "wanted"),))
RESTARTS = ("cellway_classifier_restarts_total", ())


async def ask(plane: Running, times: int) -> None:
    """Decisions over connections of their own, so that every worker gets some."""
    for _ in range(times):
        async with asking(plane) as client:
            answered = await client.get("/x")
            assert answered.headers["x-cellway-cell"] == "cell-1"


def replaced(plane: Running, pid: int) -> bool:
    return plane.workers[0].pid != pid


async def counted(client: httpx.AsyncClient, decisions: int) -> None:
    """Wait until so many are counted: a decision is counted after it has been answered."""

    async def there() -> bool:
        return (await samples(client)).get(DECIDED) == decisions

    await until(there)


async def test_counts_of_workers_and_of_the_server_add_up_and_outlive_a_worker(
    tmp_path: Path,
) -> None:
    async with plane_with(tmp_path, classifier_workers=2, classifier_restart_s=0.1) as (
        plane,
        client,
    ):
        add_cell(plane.topology)
        route_all(plane.topology)
        await ask(plane, 30)
        await counted(client, 30)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{plane.ports.grpc}") as channel:
            stub = external_auth_pb2_grpc.AuthorizationStub(channel)
            check = external_auth_pb2.CheckRequest()
            check.attributes.request.http.path = "/x"
            check.attributes.request.http.method = "GET"
            await stub.Check(check, metadata=edge_metadata(plane.topology))
        await counted(client, 31)
        values = await samples(client)
        assert (values[DECIDED], values[TIMED]) == (31, 31)
        assert (values[RUNNING], values[WANTED]) == (2, 2)
        buckets = [
            amount
            for (name, labels), amount in values.items()
            if name == "cellway_classify_seconds_bucket" and ("le", "+Inf") in labels
        ]
        assert buckets == [31]

        dead = plane.workers[0]
        os.kill(dead.pid, signal.SIGKILL)
        await until(lambda: plane.workers[0] is not dead)
        values = await samples(client)
        assert (values[RUNNING], values[RESTARTS]) == (2, 1)
        assert values[DECIDED] == 31, "a counter never goes back"
        await ask(plane, 10)
        await counted(client, 41)


async def test_with_no_worker_left_connections_are_refused(tmp_path: Path) -> None:
    async with plane_with(tmp_path, classifier_workers=1, classifier_restart_s=0) as (
        plane,
        client,
    ):
        os.kill(plane.workers[0].pid, signal.SIGKILL)

        async def refused() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", plane.ports.classifier)
            except ConnectionRefusedError:
                return True
            writer.close()
            return False

        await until(refused)
        values = await samples(client)
        assert (values[RUNNING], values[WANTED], values[RESTARTS]) == (0, 1, 0)


async def test_the_last_worker_comes_back_on_the_same_port_and_goes_on_counting(
    tmp_path: Path,
) -> None:
    async with plane_with(tmp_path, classifier_workers=1, classifier_restart_s=0.1) as (
        plane,
        client,
    ):
        add_cell(plane.topology)
        route_all(plane.topology)
        await ask(plane, 1)
        await counted(client, 1)
        pid = plane.workers[0].pid
        os.kill(pid, signal.SIGKILL)
        await until(functools.partial(replaced, plane, pid))
        await ask(plane, 1)
        await counted(client, 2)


async def test_a_worker_that_dies_again_and_again_is_started_ever_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with plane_with(tmp_path, classifier_workers=1, classifier_restart_s=0.05) as (plane, _):
        for _ in range(3):
            pid = plane.workers[0].pid
            os.kill(pid, signal.SIGKILL)
            await until(functools.partial(replaced, plane, pid))
    delays = [
        record.args[2]
        for record in caplog.records
        if record.name == "control_plane.classifier.worker.supervisor"
        and "restart in" in record.msg
    ]
    assert delays == [0.05, 0.1, 0.2]


async def test_the_database_address_is_not_in_the_process_list(tmp_path: Path) -> None:
    async with plane_with(tmp_path, classifier_workers=1) as (plane, _):
        line = await asyncio.to_thread(Path(f"/proc/{plane.workers[0].pid}/cmdline").read_bytes)
        assert WORKER_MODULE.encode() in line
        assert b"sqlite" not in line


def test_a_server_that_was_killed_can_be_started_again_on_the_same_ports(tmp_path: Path) -> None:
    ports = {name: str(unused_port()) for name in ("api", "grpc", "classifier")}
    command = [sys.executable, "-m", "control_plane.cli.main", "serve"]
    command += [f"--{name}-port={port}" for name, port in ports.items()]
    environment = os.environ | {"CELLWAY_DATA_DIR": str(tmp_path)}
    command += [f"--database-url=sqlite:///{tmp_path}/k.db"]
    for ending in (signal.SIGKILL, signal.SIGTERM):
        with subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, text=True, cwd=Path.cwd()
        ) as server:
            assert server.stderr is not None
            said: list[str] = []
            for line in server.stderr:
                said.append(line)
                if "classifier  http" in line:
                    break
            else:
                pytest.fail("".join(said))
            server.send_signal(ending)
            server.wait(60)
    assert list((tmp_path / "classifier-workers").glob("*/*.pid")) == []


class _Unwatched:
    def workers(self, running: int, wanted: int) -> None:
        """Nobody wants to know."""

    def worker_restarted(self) -> None:
        """Nobody wants to know."""


async def test_workers_that_die_at_once_are_not_waited_for(tmp_path: Path) -> None:
    workers = Workers(
        host="127.0.0.1",
        port=0,
        count=2,
        database_url="mysql://h/db",
        options=PortOptions(),
        secret="",
        directory=tmp_path,
        restart_s=0.1,
        observer=_Unwatched(),
    )
    try:
        with pytest.raises(ChildProcessError, match=r"have ended: \[1, 1\]"):
            await workers.start()
    finally:
        await workers.stop()


@pytest.mark.parametrize("package", ["control_plane", "tests.conftest", "bench.world"])
def test_grpc_has_no_hand_in_forks(package: str) -> None:
    """Its handlers ran in the child before the program there did, and crashed some of them."""
    program = f"""
import {package}, asyncio, grpc
async def main():
    server = grpc.aio.server()
    server.add_insecure_port("127.0.0.1:0")
    await server.start()
    process = await asyncio.create_subprocess_exec("true")
    print(await process.wait())
    await server.stop(0)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("0\n", "")
