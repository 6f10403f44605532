"""``cellway export``: cells and rulesets into files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from control_plane.cli import topology_files
from control_plane.cli.client import Exit, Failure
from control_plane.cli.context import of
from control_plane.cli.output import messages


def export(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(help="where to; created if it isn't there")],
    force: Annotated[bool, typer.Option(help="overwrite files that are there")] = False,
) -> None:
    """Write cells and rulesets as files that apply and diff read.

    The files are cells/NAME.yaml, rulesets/NAME.json and topology.yaml.
    """
    answer = of(ctx).client.get("/v1/topology")
    if directory.is_file() or (directory.is_dir() and any(directory.iterdir()) and not force):
        raise Failure(f"{directory} is not empty; --force overwrites", Exit.CONFLICT)
    topology_files.write(directory, answer)
    counts = {"cells": len(answer["cells"]), "rulesets": len(answer["rulesets"])}
    messages.print(f"revision {answer['revision']}: {counts['cells']} cells in {directory}")
    of(ctx).show_data({"revision": answer["revision"], "directory": str(directory), **counts})
