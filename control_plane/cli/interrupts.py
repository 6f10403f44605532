"""Lets a command put things in order when Ctrl-C comes.

A command begins with the system's own way (see `control_plane.cli.loading`): SIGINT ends it at
once. That is right for whatever only asks a server. What has begun something here says so::

    with interruptible():
        restore_a_backup()

`control_plane.cli.ending` ends a command that was interrupted.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Have Ctrl-C raise KeyboardInterrupt within the block."""
    ends = signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    if ends:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if ends:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
