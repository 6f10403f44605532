"""Builds wheels and sdists of this repository, without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDERS = ("addons", "control_plane", "envoy", "rulesets")
FILES = ("LICENSE", "README.md", "pyproject.toml", "setup.py")
EPOCH = "1790000000"
"""The time that stands in what is built, in seconds."""


def project() -> dict[str, Any]:
    """Return the section `project` of pyproject.toml."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    section: dict[str, Any] = document["project"]
    return section


def copy_sources(target: Path) -> Path:
    """Copy what a build reads, because a build leaves files beside it; return the copy."""
    for folder in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, target / folder, ignore=ignored)
    for name in FILES:
        shutil.copy2(ROOT / name, target)
    return target


def build(kind: str, source: Path, target: Path) -> Path:
    """Build a ``wheel`` or an ``sdist`` of a source tree, as pip does; return its file."""
    target.mkdir(parents=True, exist_ok=True)
    program = f"import setuptools.build_meta as b; print(b.build_{kind}({str(target)!r}))"
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", program],
        cwd=source,
        env=os.environ | {"SOURCE_DATE_EPOCH": EPOCH},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return target / done.stdout.split()[-1]
