"""Runs a coroutine as a command: with a log, and with one line for what keeps it from running."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any

from control_plane.cli.ending import failure_of_system
from control_plane.cli.interrupts import interruptible
from control_plane.foreign_text import log_to_stderr
from control_plane.process.event_loop import run_loop
from control_plane.process.private_files import only_private_files


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end; what it makes on disk is its user's alone.

    Raises:
        Failure: a port is taken, a directory can't be used, a file can't be read.
    """
    try:
        with interruptible(), only_private_files():
            run_loop(main)
    except OSError as error:
        raise failure_of_system(error) from error


def start_logging() -> None:
    """Log to stderr, as a server does."""
    log_to_stderr(logging.INFO, "%(levelname)s %(name)s: %(message)s")
    for noisy in ("alembic", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
