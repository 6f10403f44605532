"""Drains go on by themselves, and through a database that is away for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from control_plane.jobs import drain_steps
from control_plane.jobs.drain_steps import DrainSteps
from control_plane.topology import Topology
from control_plane.topology.values.drain import Drain, DrainSpec
from control_plane.topology.values.errors import Unavailable
from tests.support.conditions import until, wait_until
from tests.support.plane_process import PlaneProcess
from tests.topology.conftest import cell_spec

SPEC = DrainSpec("cell-1", 0, 100, 60, "disks", 3600)


async def test_a_database_that_is_away_only_delays_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_steps, "PAUSE_S", 0.01)
    topology = Topology.open(f"sqlite:///{tmp_path}/t.db")
    for number in (1, 2):
        topology.cells.create(cell_spec(number), actor="test")
    topology.drains.start(SPEC, actor="test")
    advance, tries = topology.drains.advance, []

    def failing() -> Sequence[Drain]:
        tries.append(1)
        if len(tries) < 3:
            raise Unavailable("it restarts")
        return advance()

    monkeypatch.setattr(topology.drains, "advance", failing)
    task = asyncio.create_task(DrainSteps(topology).run())
    await until(lambda: topology.cells.get("cell-1").share == 0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    topology.close()


def test_a_drain_goes_on_after_its_control_plane_was_killed(tmp_path: Path) -> None:
    """The steps are those of the database: none is lost, none is made twice."""
    with PlaneProcess(tmp_path, "--roles", "api") as plane:
        for name in ("north", "south"):
            body = {
                "name": name, "address": f"{name}.example", "endpoints": ["127.0.0.1:9"],
                "state": "active",
            }  # fmt: skip
            plane.write("POST", "/v1/cells", body)
        asked = {
            "cell": "north", "target_share": 98, "step": 1, "interval_s": 1, "reason": "test",
            "expires_in_s": 600,
        }  # fmt: skip
        path = "/v1/drains/" + plane.write("POST", "/v1/drains", asked)["drain"]["id"]
        wait_until(lambda: plane.api.get(path).json()["share"] < 100)
        plane.kill()
        plane.start()
        wait_until(lambda: plane.api.get(path).json()["state"] == "holding")
        entries = plane.api.get("/v1/audit?kind=drain").json()["items"]
        steps = [one["after"]["share"] for one in entries if one["action"] == "step"]
        assert sorted(steps) == [98, 99]
