"""The module for the Envoys of this machine: found, or built, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from control_plane.cli.client import Exit, Failure
from control_plane.compiler.edge_map.capable import TRIED_VERSIONS, is_tried
from control_plane.edge_module.build import BuildFailed, build, built
from control_plane.edge_module.compilers import NoCompiler
from control_plane.edge_module.module_file import why_unusable, wrong_name
from control_plane.process.envoy import MODULES, envoy_version

BUILD = "python -m control_plane.edge_module.build"
"""The command that builds it."""


@dataclass(frozen=True, slots=True)
class LocalModule:
    """Whether the Envoys of this machine run the module."""

    file: Path | None
    """Its file; None: they run without."""
    why_not: str = ""
    """Why they run without, for an operator."""

    @property
    def directory(self) -> Path | None:
        """What Envoy's process has as its search path."""
        return None if self.file is None else self.file.parent


NO_MODULE = LocalModule(None)


def local_module(wanted: str) -> LocalModule:
    """Return the module for this machine's Envoys.

    Args:
        wanted: ``off``; ``auto``: if it is built already; ``on``: build it if need be.

    Raises:
        Failure: it is ``on``, and there can be none.
    """
    if wanted == "off":
        return LocalModule(None, "it is turned off (edge_module)")
    why_not = _envoy_too_other()
    file = None
    if not why_not:
        file, why_not = _built() if wanted == "auto" else _build()
    if file is not None:
        why_not = why_unusable(file)
    if not why_not:
        return LocalModule(file)
    if wanted == "on":
        raise Failure(f"--edge-module on: {why_not}; or leave it at auto", Exit.USAGE)
    return LocalModule(None, why_not)


def given_module(text: str) -> Path:
    """Return the file that ``--module`` names; ``auto``: the one that is built here.

    A file that is not on this machine is that of Envoy's machine, and only its name is checked.

    Raises:
        Failure: it can't be used.
    """
    file: Path | None = Path(text)
    if text == "auto":
        file, why_not = _build()
    elif Path(text).exists():
        why_not = why_unusable(Path(text))
    else:
        why_not = wrong_name(Path(text))
    if file is None or why_not:
        raise Failure(f"--module {text}: {why_not}", Exit.USAGE)
    return file.absolute()


def how_to_start(file: Path) -> str:
    """Return what an operator is told who starts an Envoy with the module."""
    return f"start this Envoy with {MODULES}={file.parent}"


def _built() -> tuple[Path | None, str]:
    file = built()
    return file, "" if file is not None else f"it is not built here: {BUILD}"


def _build() -> tuple[Path | None, str]:
    try:
        return build(), ""
    except (NoCompiler, BuildFailed, OSError) as error:
        return None, f"it can't be built: {error}"


def _envoy_too_other() -> str:
    """Return why this machine's Envoy can't have the module; empty if it can."""
    version = envoy_version()
    if is_tried(version):
        return ""
    tried = ", ".join(f"{one}.x" for one in TRIED_VERSIONS)
    return f"Envoy here is {version or 'of an unknown version'}; the module is for {tried}"
