"""A control plane in a process of its own, over a database that gets into trouble and out of it."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.cellway_command import Cellway
from tests.support.conditions import wait_until
from tests.support.plane_process import PlaneProcess

ROLES = ("--roles", "api,topology")
CELL = {"name": "c1", "address": "c1.example", "endpoints": ["10.0.0.1:443"], "state": "active"}


def readiness(plane: PlaneProcess) -> tuple[int, dict[str, Any]]:
    answer = plane.api.get("/readyz")
    return answer.status_code, answer.json()


def claim(plane: PlaneProcess, name: str) -> httpx.Response:
    body = {"claims": [{"bucket": "route", "value": name, "cell": "c1"}]}
    return plane.api.post("/v1/claims", json=body)


def limit_files(plane: PlaneProcess, size: int) -> None:
    """Let no file of a running control plane grow beyond a size, as a full disk would."""
    hard = resource.prlimit(plane.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(plane.pid, resource.RLIMIT_FSIZE, (size, hard))


def test_a_full_disk_is_told_as_such_and_passes(tmp_path: Path) -> None:
    with PlaneProcess(tmp_path, *ROLES) as plane:
        plane.write("POST", "/v1/cells", CELL)
        claim(plane, "before").raise_for_status()
        limit_files(plane, 4096)
        refused = claim(plane, "refused")
        assert refused.status_code == 503
        assert refused.json()["code"] == "database-full"
        assert "make room" in refused.json()["detail"]
        assert int(refused.headers["retry-after"]) > 0
        status, body = readiness(plane)
        assert (status, body["status"]) == (503, "alarm")
        assert "writes fail: the database has no room left" in body["alarm"]
        assert "cellway_database_writable 0.0" in plane.api.get("/metrics").text
        told = Cellway(str(plane.api.base_url))("claims", "claim", "c1", "route:x")
        assert told.returncode == 1
        assert told.stderr.startswith("cellway: the database has no room left")
        assert plane.api.get("/v1/claims/route/before").json()["cell"] == "c1"
        limit_files(plane, resource.prlimit(plane.pid, resource.RLIMIT_FSIZE)[1])
        wait_until(lambda: readiness(plane)[0] == 200, 10)
        assert "cellway_database_writable 1.0" in plane.api.get("/metrics").text
        claim(plane, "refused").raise_for_status()


@pytest.mark.parametrize(
    ("content", "told", "status"),
    [
        ("no database" * 1000, "the database is damaged: file is not a database", 1),
        (None, "there is none, but", 6),
    ],
)
def test_a_database_that_cannot_be_served_is_told_in_one_line(
    tmp_path: Path, content: str | None, told: str, status: int
) -> None:
    (tmp_path / "t.db.sequence-mark.json").write_text('{"mark": 5, "cell": 1}')
    if content is not None:
        (tmp_path / "t.db").write_text(content)
    ports = [f"--{one}-port=0" for one in ("api", "grpc", "classifier", "edge")]
    ended = Cellway("")("serve", *ROLES, *ports, "--database-url", f"sqlite:///{tmp_path}/t.db")
    assert ended.returncode == status, ended.stderr
    lines = " ".join(ended.stderr.split())
    assert lines.startswith("cellway: ")
    assert told in lines
    assert "Traceback" not in lines
