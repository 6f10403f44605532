"""All that our commands make on disk is their user's alone, whatever the umask was."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.process.admin_address import AdminAddress
from control_plane.process.envoy import ADMIN_SOCKET, LeftEnvoy
from control_plane.server.local_edge import only_one
from tests.support.envoy_admin import sync_client
from tests.support.ports import unused_port
from tests.support.slow_cell import SlowCell
from tests.support.up_process import Up


class OpenHandedUp(Up):
    """`cellway up` under a umask that takes nothing from anybody."""

    def options(self) -> dict[str, Any]:
        return {**super().options(), "preexec_fn": lambda: os.umask(0)}


def open_to_others(directory: Path) -> dict[str, str]:
    """Return what others may do something with, and its mode."""
    modes = {
        path: stat.S_IMODE(path.lstat().st_mode) for path in [directory, *directory.rglob("*")]
    }
    return {str(path): f"{mode:o}" for path, mode in modes.items() if mode & 0o077}


def test_what_cellway_up_makes_is_its_users_alone(tmp_path: Path) -> None:
    data, stats_port = tmp_path / "data", unused_port()
    settings: dict[str, Any] = {
        "database_url": f"sqlite:///{data}/cellway.db",
        "changes_archive": data / "archive.ndjson",
        "changes_kept_revisions": 1,
        "classifier_workers": 1,
        "envoy_stats_port": stats_port,
    }
    with SlowCell() as cell, OpenHandedUp(tmp_path, **settings) as up:
        cell.let_go()
        up.start()
        up.route(cell.port)
        assert up.ask() == 200
        found = {path.name for path in data.rglob("*")}
        assert {"cellway.db", "cellway.db-wal", "cellway.db-shm", "up.lock"} <= found
        assert {"bootstrap.json", "envoy.log", "envoy.lock", "admin.address", ADMIN_SOCKET} <= found
        assert open_to_others(data) == {}
        admin = LeftEnvoy(0, data / "envoy").admin.address
        assert admin == AdminAddress(socket=str(data / "envoy" / ADMIN_SOCKET))
        assert f"Envoy admin   {admin}" in up.said
        with sync_client(admin) as client:
            assert client.get("/ready").text == "LIVE\n"
            pages = client.get("/help").text
        check_stats_page(stats_port, pages)


def check_stats_page(port: int, pages: str) -> None:
    """Check that the port shows stats to Prometheus, and no other page of the admin interface."""
    others = {line.split()[0].rstrip(":") for line in pages.splitlines() if line.startswith("  /")}
    others -= {"/stats/prometheus", "/ready"}
    assert {"/quitquitquit", "/config_dump", "/stats", "/logging"} <= others
    base = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=base, trust_env=False) as client:
        metrics = client.get("/stats/prometheus?usedonly")
        assert metrics.status_code == 200
        assert "envoy_cluster_upstream_rq_total" in metrics.text
        assert client.get("/ready").text == "LIVE\n"
        odd = {
            "/",
            "/stats/prometheus/../../quitquitquit",
            "//quitquitquit",
            "/ready/%2e%2e/quitquitquit",
        }
        for path in sorted(others | odd):
            for method in ("GET", "POST"):
                assert client.request(method, path).status_code == 404, (method, path)
        assert client.post("/stats/prometheus").status_code == 404
        assert client.post("/ready").status_code == 404


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_a_shared_data_directory_is_left_as_it_is_with_a_warning(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    from_operator = tmp_path / "shared"
    from_operator.mkdir()
    from_operator.chmod(mode)
    with only_one(from_operator):
        pass
    assert stat.S_IMODE(from_operator.stat().st_mode) == mode
    assert f"others may enter {from_operator} (mode {mode:o})" in caplog.text
    assert open_to_others(from_operator) == {str(from_operator): f"{mode:o}"}
