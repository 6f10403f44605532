"""Compiles the module that runs inside Envoy: ``python -m control_plane.edge_module.build``.

    build.py                  libcellway_edge_v1.so, for Envoy
    build.py --library        the same sources without Envoy's hooks, for Python (library.py)
    build.py --sanitize …     either of them, watching its own memory or threads

A build lies in the user's cache directory, under a hash of the sources, flags and compiler, and is
made once. Nothing is compiled when a module is imported.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from control_plane.edge_module.compilers import Kind, NoCompiler, Sanitizer, compiler
from control_plane.edge_module.shared_object import why_broken
from control_plane.shipped import ENVOY_SCRIPTS

MODULE_FILE = "libcellway_edge_v1.so"
"""What Envoy looks for on its search path."""
SOURCES = ENVOY_SCRIPTS / "module"
BUILD_S = 300
"""How long a compiler may take; `ziglang` takes 20 seconds the first time."""
_HOOKS, _LIBRARY = "envoy_", "library_"
"""How the names of sources begin that only Envoy needs, and that only Python does."""


class BuildFailed(Exception):
    """The compiler refused the sources; the message has what it said."""


def build(kind: Kind | None = None, cache: Path | None = None) -> Path:
    """Return the file of this build; compile it unless it is in the cache, and whole.

    Args:
        kind: What to build; None: the module for Envoy, for this machine.
        cache: The directory of builds; None: `cellway/edge-module` in the user's cache directory.

    Raises:
        NoCompiler: there is no C compiler.
        BuildFailed: it refused the sources.
    """
    kind = kind or Kind()
    command, sources, target = _plan(kind, cache)
    if not _is_whole(target):
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _compile([*command, *kind.flags], sources, target)
    return target


def built(cache: Path | None = None) -> Path | None:
    """Return the module for Envoy if it was built here before; None if it was not.

    Args:
        cache: The directory of builds, as in `build`.
    """
    try:
        _, _, target = _plan(Kind(), cache)
    except NoCompiler:
        return None
    return target if target.exists() else None


def _is_whole(file: Path) -> bool:
    """Return whether a build is there, and not cut off: a full disk or a crash may do that."""
    return file.exists() and not why_broken(file.read_bytes())


def _plan(kind: Kind, cache: Path | None) -> tuple[tuple[str, ...], list[Path], Path]:
    """Return the compiler's command, the sources, and where the build goes."""
    command = compiler(kind)
    sources = sources_of(kind)
    name = _fingerprint(command, kind, sources)
    return command, sources, (cache or _cache()) / name / MODULE_FILE


def sources_of(kind: Kind) -> list[Path]:
    """Return the C sources of a build."""
    others = _HOOKS if kind.library else _LIBRARY
    return sorted(path for path in SOURCES.glob("*.c") if not path.name.startswith(others))


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cellway" / "edge-module"


def _fingerprint(command: Sequence[str], kind: Kind, sources: Sequence[Path]) -> str:
    read = hashlib.sha256(repr((command, kind.flags)).encode())
    for path in (*sources, *sorted(SOURCES.glob("*.h"))):
        read.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return read.hexdigest()[:32]


def _compile(command: Sequence[str], sources: Sequence[Path], target: Path) -> None:
    """Compile beside the target and move the result, so that nobody loads half a file."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        arguments = [*command, "-o", str(made), *map(str, sources)]
        try:
            done = subprocess.run(
                arguments, capture_output=True, text=True, check=False, timeout=BUILD_S
            )
        except subprocess.TimeoutExpired as late:
            raise BuildFailed(f"{command[0]} did not end within {BUILD_S} seconds") from late
        if done.returncode != 0:
            raise BuildFailed(f"{command[0]} refused the module's sources:\n{done.stderr.strip()}")
        made.replace(target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build as the command line says, and print where the file is."""
    parser = argparse.ArgumentParser(
        prog="python -m control_plane.edge_module.build",
        description="Compile the module that answers inside Envoy.",
    )
    parser.add_argument("--library", action="store_true", help="without Envoy's hooks, for Python")
    parser.add_argument("--sanitize", type=Sanitizer, choices=list(Sanitizer))
    parser.add_argument("--machine", choices=["x86_64", "aarch64"], help="needs the wheel ziglang")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="put a copy there")
    options = parser.parse_args(arguments)
    try:
        made = build(Kind(options.library, options.sanitize, options.machine))
        if options.output is not None:
            options.output.mkdir(parents=True, exist_ok=True)
            made = Path(shutil.copy2(made, options.output))
    except (NoCompiler, BuildFailed, OSError) as failure:
        print(f"{parser.prog}: {failure}", file=sys.stderr)
        return 1
    print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
