"""``--wait`` through a server without Envoys of its own: it asks for those of the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.cellway_command import Cellway
from tests.support.plane import RULESET
from tests.support.plane_process import PlaneProcess
from tests.support.system import REFUSED_CELL, System


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, Cellway]]:
    """A server with an Envoy, and a command that speaks to another one, which has only the API."""
    with ExitStack() as stack:
        directory = tmp_path_factory.mktemp("served")
        system = stack.enter_context(System(directory, cells=1, classifier_workers=0))
        # Without a ruleset an Envoy is sent nothing that it could refuse.
        system.use_ruleset(json.loads(RULESET))
        url = f"sqlite:///{directory}/cellway.db"
        arguments = ("--roles", "api", "--database-url", url)
        other = stack.enter_context(PlaneProcess(tmp_path_factory.mktemp("api"), *arguments))
        yield system, Cellway(f"http://127.0.0.1:{other.api_port}")


def test_the_envoys_of_the_other_server_are_waited_for(both: tuple[System, Cellway]) -> None:
    system, cellway = both
    port = system.cell_ports["cell-1"]
    added = cellway(
        "cells", "add", "one", "--address", "one.example", "--endpoint", f"127.0.0.1:{port}",
        "--state", "active", "--wait", "--timeout", "20s",
    )  # fmt: skip
    assert added.returncode == 0, added.stderr
    assert "acknowledged by 1 of 1 Envoys" in added.stderr
    (node,) = system.api.get("/v1/fleet").json()["items"]
    assert node["acked_revision"] == system.plane.topology.revision()


def test_an_envoy_that_refuses_there_ends_the_waiting(both: tuple[System, Cellway]) -> None:
    system, cellway = both
    file = Path(system.plane.settings.data_dir) / "broken.json"
    file.write_text(json.dumps({"cells": [REFUSED_CELL]}))
    applied = cellway("--wait", "--timeout", "60s", "apply", "-f", str(file), "--yes")
    assert applied.returncode == 6, applied.stderr
    assert "an Envoy refuses it" in applied.stderr
    assert "ca.pem" in applied.stderr
    system.api.delete("/v1/cells/broken", headers={"if-match": "*"})


def test_without_a_server_for_envoys_nobody_is_waited_for(tmp_path: Path) -> None:
    with PlaneProcess(tmp_path, "--roles", "api") as alone:
        cellway = Cellway(f"http://127.0.0.1:{alone.api_port}")
        added = cellway(
            "cells", "add", "one", "--address", "one.example", "--endpoint", "10.0.0.1:1", "--wait"
        )
    assert added.returncode == 1
    assert "nobody was waited for" in added.stderr
