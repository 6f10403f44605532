"""An Envoy that says it has the module and can't run it gets the plain configuration.

It is never without routes for that, and the fleet shows its words.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from control_plane.edge_module.build import MODULE_FILE, build
from control_plane.edge_module.compilers import Kind, compiler
from control_plane.edge_module.module_file import why_unusable
from control_plane.xds.fleet.served_variant import MAX_UNANSWERED
from tests.support.conditions import wait_until
from tests.support.raw_client import RawClient
from tests.support.system import System

SESSION = [("cookie", b"_gitlab_session=cell-2-a")]
OF_ANOTHER_ABI = 'const char *envoy_dynamic_module_on_program_init(void) { return "v9"; }'


def broken(kind: str, directory: Path) -> Path:
    """Return the path of a file that can't be the module."""
    file = directory / "modules" / MODULE_FILE
    file.parent.mkdir()
    if kind == "of another ABI":
        source = directory / "other.c"
        source.write_text(OF_ANOTHER_ABI)
        command = [*compiler(Kind()), "-shared", "-fPIC", "-o", str(file), str(source)]
        subprocess.run(command, check=True, timeout=60)
    return file


def cut_off(directory: Path) -> Path:
    """Return the module without its end, at which Envoy ends when it loads it."""
    file = directory / "modules" / MODULE_FILE
    file.parent.mkdir()
    file.write_bytes(build().read_bytes()[:40_000])
    return file


def serves(system: System) -> bool:
    with RawClient(system.edge_port) as client:
        status, headers, _ = client.ask(b"/", SESSION)
    return (status, headers.get("x-cellway-cell")) == (200, "cell-2")


@pytest.mark.parametrize("kind", ["absent", "of another ABI"])
def test_an_envoy_that_refuses_the_module_serves_by_the_plain_routes(
    tmp_path: Path, kind: str
) -> None:
    file = broken(kind, tmp_path)
    with System(tmp_path, module=file) as system:
        system.add_cells()
        system.use_ruleset("gitlab")
        assert serves(system)
        (node,) = system.api.get("/v1/fleet").json()["items"]
        assert (node["state"], node["variant"]) == ("SYNCED", None)
        assert "dynamic module" in node["variant_refused"] or "symbol" in node["variant_refused"]


def test_an_envoy_that_ends_over_the_module_serves_after_a_few_restarts(tmp_path: Path) -> None:
    file = cut_off(tmp_path)
    assert "cut off" in why_unusable(file)
    with System(tmp_path, module=file) as system:
        system.add_cells()
        system.use_ruleset("gitlab")
        for _ in range(MAX_UNANSWERED):
            wait_until(lambda: not system.plane.fleet.connected_nodes)
            system.restart_envoy()
        system.in_step()
        assert serves(system)
        (node,) = system.api.get("/v1/fleet").json()["items"]
        assert f"ended {MAX_UNANSWERED} times" in node["variant_refused"]
