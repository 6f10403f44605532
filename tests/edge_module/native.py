"""Compiles test programs in C against the module's parts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from control_plane.edge_module.build import SOURCES, build
from control_plane.edge_module.compilers import Kind, Sanitizer, compiler

FOLDER = Path(__file__).parent


def compiled(name: str, directory: Path, sanitizer: Sanitizer | None = None) -> Path:
    """Return the program that `name`.c of this folder becomes."""
    kind = Kind(library=True, sanitizer=sanitizer)
    library, program = build(kind), directory / name
    flags = [flag for flag in kind.flags if flag != "-shared"]
    run_path = f"-Wl,-rpath,{library.parent}"
    arguments = [f"-I{SOURCES}", str(FOLDER / f"{name}.c"), str(library), run_path]
    subprocess.run([*compiler(kind), *flags, *arguments, "-o", str(program)], check=True)
    return program
