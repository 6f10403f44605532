"""Older Envoys join with our bootstrap, accept everything and route; the status shows their age."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.process import envoy
from tests.support.raw_client import RawClient
from tests.support.system import System

BINARIES = {
    path.parents[2].name: path for path in sorted(Path("/opt/envoys").glob("*/envoy/_bin/envoy"))
}
"""The older Envoys that this machine happens to have; ours is always there."""


@pytest.mark.parametrize("version", [*BINARIES, "ours"])
def test_an_envoy_accepts_everything_and_the_status_shows_its_age(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if version in BINARIES:
        monkeypatch.setattr(envoy, "envoy_binary", lambda: str(BINARIES[version]))
    with System(tmp_path, 2) as system:
        system.add_cells()
        system.claim("cell-1", "route:foo")
        system.use_ruleset("gitlab")
        system.in_step()
        (node,) = system.api.get("/v1/fleet").json()["items"]
        assert (node["state"], [one["error"] for one in node["types"] if one["error"]]) == (
            "SYNCED",
            [],
        )
        outdated = version in BINARIES and version < "1.40"
        assert bool(node["outdated"]) is outdated
        if outdated:
            assert node["outdated"].startswith(f"Envoy {version} is older than 1.40.0")
        assert f"cellway_fleet_outdated_nodes {float(outdated)}" in system.api.get("/metrics").text
        with RawClient(system.edge_port) as client:
            asked = [client.ask(b"/foo/x")[1] for _ in range(2)]
            asked.append(client.ask(b"/-/x", [("cookie", b"_gitlab_session=cell-2-a")])[1])
        assert [(one["x-cellway-cell"], one["x-cellway-tier"]) for one in asked] == [
            ("cell-1", "classifier"),
            ("cell-1", "edge-cache"),
            ("cell-2", "native"),
        ]
