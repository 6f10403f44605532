"""How a command fails: with a message for stderr and an exit status."""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    """Exit statuses. Scripts depend on them, so that they never change."""

    OK = 0
    ERROR = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    DENIED = 5
    REFUSED = 6
    TIMED_OUT = 7
    INTERRUPTED = 130
    """Ctrl-C, as shells have it: 128 and the number of the signal."""
    PIPE_CLOSED = 141
    """Whatever reads the output has ended, as ``head`` does; likewise."""


DIFFERENT = 2
"""Exit status of a command that compares and finds differences (not an error, so no `Exit`)."""


class Failure(Exception):
    """A command failed. The message goes to stderr, and the status is the command's exit status."""

    def __init__(self, message: str, status: Exit = Exit.ERROR) -> None:
        super().__init__(message)
        self.status = status
