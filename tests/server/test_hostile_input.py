"""A real control plane survives what cells, files and databases hold, and goes on answering."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.conditions import wait_until
from tests.support.plane_process import PlaneProcess
from tests.support.postgres import postgres

RESTARTS = 'cellway_background_restarts_total{task="cell health"}'


@pytest.fixture(autouse=True)
def _probes_come_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLWAY_HEALTH_INTERVAL_S", "0.05")


@contextlib.contextmanager
def endpoint(answer: bytes) -> Iterator[tuple[str, Callable[[], int]]]:
    """Serve one answer to everybody, and never close; yield the address, and how many came."""
    connections: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                connections.append(connection)
                connection.settimeout(1)
                with contextlib.suppress(OSError):
                    connection.recv(1 << 16)
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}", lambda: len(connections)
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()


def declare(plane: PlaneProcess, name: str, address: str, **more: Any) -> None:
    cell = {"name": name, "address": f"{name}.example", "endpoints": [address]}
    plane.write("POST", "/v1/cells", cell | {"health_check_path": "/ok", "state": "active"} | more)


def store(directory: Path, name: str, **details: Any) -> None:
    """Store what no write accepts today."""
    with contextlib.closing(sqlite3.connect(directory / "cellway.db", timeout=30)) as database:
        query = "SELECT details FROM cells WHERE name = ?"
        (text,) = database.execute(query, (name,)).fetchone()
        changed = json.dumps(json.loads(text) | details)
        database.execute("UPDATE cells SET details = ? WHERE name = ?", (changed, name))
        database.commit()


def healthy(plane: PlaneProcess, name: str) -> bool:
    answer: bool = plane.api.get(f"/v1/cells/{name}", timeout=5).json()["healthy"]
    return answer


def test_cells_of_all_kinds_end_nothing_and_are_down_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    good = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    with contextlib.ExitStack() as stack:
        fine, _ = stack.enter_context(endpoint(good))
        flood, floods = stack.enter_context(endpoint(b"a" * 200_000))
        plane = stack.enter_context(PlaneProcess(tmp_path, "--classifier-workers", "0"))
        for number in range(6):
            declare(plane, f"good-{number}", fine)
        declare(plane, "flood", flood)
        for name in ("server-name", "nul", "fifo"):
            declare(plane, name, fine, tls={"server_name": "x.example"})
        declare(plane, "host", "a.example:80")
        store(tmp_path, "server-name", tls={"server_name": ".x", "ca_file": None})
        store(tmp_path, "nul", tls={"server_name": None, "ca_file": "/a\0b"})
        store(tmp_path, "fifo", tls={"server_name": None, "ca_file": f"{tmp_path}/fifo"})
        store(tmp_path, "host", endpoints=[["a" * 100, 80]])
        bad = ("flood", "server-name", "nul", "fifo", "host")
        wait_until(lambda: not any(healthy(plane, name) for name in bad))
        assert all(healthy(plane, f"good-{number}") for number in range(6))
        assert floods() > 0
        assert plane.running
        assert plane.api.get("/readyz").json()["alarm"] is None


def test_a_database_that_refuses_a_round_s_result_is_an_alarm_until_it_takes_it(
    tmp_path: Path,
) -> None:
    good = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    with endpoint(good) as (fine, _), PlaneProcess(tmp_path, "--classifier-workers", "0") as plane:
        declare(plane, "good", fine)
        with contextlib.closing(sqlite3.connect(tmp_path / "cellway.db", timeout=30)) as database:
            database.execute(
                "CREATE TRIGGER full BEFORE UPDATE ON cells "
                "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
            )
            declare(plane, "bad", "127.0.0.1:1")
            ready = wait_until(lambda: plane.api.get("/readyz").json()["alarm"])
            assert "'cell health' keeps failing: DatabaseFailed" in ready
            assert plane.running
            metrics = plane.api.get("/metrics").text.splitlines()
            (restarts,) = [line for line in metrics if line.startswith(RESTARTS)]
            assert float(restarts.split()[-1]) >= 2
            database.execute("DROP TRIGGER full")
        wait_until(lambda: not healthy(plane, "bad"))


def test_notifications_of_any_text_end_nothing(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(postgres())
        url = stack.enter_context(server.database("notified"))
        options = ("--classifier-workers", "0", "--database-url", url)
        plane = stack.enter_context(PlaneProcess(tmp_path, *options))
        anybody = stack.enter_context(psycopg.connect(url, autocommit=True))
        for text in ("1" * 5000, "9" * 30, "", "\u0661", "-1", "x" * 7999):
            anybody.execute("SELECT pg_notify('cellway_revision', %s)", (text,))
        # Notifications come in order, so all were read when this commit has been published.
        declare(plane, "cell-1", "127.0.0.1:1")
        published = f"cellway_revision {plane.api.get('/readyz').json()['revision']}.0"
        wait_until(lambda: published in plane.api.get("/metrics").text.splitlines())
        assert plane.running
        log = (tmp_path / "serve.log").read_text()
        assert "ERROR" not in log
        assert "Traceback" not in log
