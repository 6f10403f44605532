"""The bar on stderr that shows how far a command is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import Progress, ProgressColumn

from control_plane.cli.interrupts import interruptible
from control_plane.cli.output import messages


@contextmanager
def progress_bar(*columns: ProgressColumn) -> Iterator[Progress]:
    """Show a bar while the block runs, if stderr is a terminal.

    Ctrl-C raises KeyboardInterrupt within the block: the cursor that a bar hides has to come back.
    """
    bar = Progress(*columns, console=messages, disable=not sys.stderr.isatty())
    with interruptible(), bar:
        yield bar
