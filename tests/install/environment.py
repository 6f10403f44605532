"""Environments with a wheel and what it says it needs, and nothing else; made without a network.

pip would fetch the packages. Here they are links to those of the environment that runs the tests:

    cellway-0.1.0.whl ── Requires-Dist: httpx>=0.27 ──▶ site-packages/httpx → ../.venv/…/httpx
                                                        site-packages/httpcore → …

So what the wheel forgets to ask for can't be imported, as in a clean environment. This repository is
not on the path either.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib import metadata
from importlib.metadata import Distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_PATHS = frozenset({"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"})


class Environment:
    """A virtual environment in a folder of its own."""

    def __init__(self, folder: Path, requirements: list[str]) -> None:
        """Make it, with packages that this Python has."""
        venv.create(folder / "env", symlinks=True)
        self.folder = folder
        self.bin = folder / "env" / "bin"
        self.python = self.bin / "python"
        (self.packages,) = (folder / "env" / "lib").glob("python*/site-packages")
        for one in distributions(requirements):
            self.link(one)

    def link(self, package: Distribution) -> None:
        """Give it a package of another environment."""
        entries = {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}
        for entry in entries:
            link = self.packages / entry
            if not link.exists():
                link.symlink_to(Path(str(package.locate_file(entry))))
        for script in package.entry_points.select(group="console_scripts"):
            module, _, function = script.value.partition(":")
            program = f"#!{self.python}\nimport sys\nfrom {module} import {function}\n"
            path = self.bin / script.name
            path.write_text(f"{program}sys.exit({function}())\n")
            path.chmod(0o755)

    def install(self, wheel: Path) -> None:
        """Install a wheel, with pip."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "-q"]
        options = ["--no-deps", "--no-index", "--no-cache-dir", "--disable-pip-version-check"]
        subprocess.run([*pip, *options, str(wheel)], check=True, env=self.variables())

    def package(self, name: str) -> Distribution:
        """Return a package of it."""
        (found,) = metadata.distributions(name=name, path=[str(self.packages)])
        return found

    def variables(self) -> dict[str, str]:
        """Return the environment variables of a user who has activated it and set nothing."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in _PATHS and not name.startswith(("CELLWAY_", "PYTEST_"))
        }
        return kept | {"PATH": f"{self.bin}:/usr/bin:/bin", "NO_COLOR": "1", "COLUMNS": "200"}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program of it, in a folder without this repository, to its end."""
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.folder,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def distributions(requirements: list[str]) -> list[Distribution]:
    """Return the packages of this environment that fulfil requirements, and those they need."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(text) for text in requirements]
    seen: set[str] = set()
    while waiting:
        wanted = waiting.pop()
        if str(wanted) in seen:
            continue
        seen.add(str(wanted))
        package = metadata.distribution(wanted.name)
        assert wanted.specifier.contains(package.version, prereleases=True), f"{wanted} is older"
        found[canonicalize_name(wanted.name)] = package
        waiting += _needs(package, wanted.extras)
    return list(found.values())


def _needs(package: Distribution, extras: set[str]) -> Iterator[Requirement]:
    for text in package.requires or ():
        need = Requirement(text)
        marker = need.marker
        if marker is None or any(marker.evaluate({"extra": one}) for one in ("", *extras)):
            yield need
