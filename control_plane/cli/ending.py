"""Runs a command to its end: one line for what went wrong, and an exit status, never a traceback.

A command writes its data with ``print``. What keeps it from being written (a full disk, a closed
pipe) may come up as late as in the last flush, so that is made here, where it can be told.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterator

from control_plane.cli.failure import Exit, Failure
from control_plane.cli.output import messages

DEBUG = "CELLWAY_DEBUG"
"""The variable with which a fault of cellway itself shows where it happened."""


def run_to_end(command: Callable[[], None]) -> int:
    """Run a command; return its exit status. What went wrong is told on stderr."""
    _open_streams()
    try:
        status = _status_of(command)
        with _output_failures():
            sys.stdout.flush()
    except Failure as failure:
        tell(failure)
        status = int(failure.status)
    except KeyboardInterrupt:
        # A terminal shows ^C, and a shell takes the status for what it is.
        status = int(Exit.INTERRUPTED)
    except BrokenPipeError:
        status = int(Exit.PIPE_CLOSED)
    _forget_output()
    return status


def tell(failure: Failure) -> None:
    """Print a failure on stderr."""
    # Nobody is left to be told if stderr can't be written.
    with contextlib.suppress(OSError):
        messages.print(f"cellway: {failure}", style="red", markup=False)


def _status_of(command: Callable[[], None]) -> int:
    """Run a command; return the exit status that it chose.

    Raises:
        Failure: the command failed, or the system failed it.
    """
    try:
        command()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(Exit.OK if not ended.code else 1)
    except (Failure, BrokenPipeError):
        raise
    except OSError as error:
        raise failure_of_system(error) from error
    except UnicodeEncodeError as error:
        text = f"{str(error.object)[:100]!a} can't be written as {error.encoding}"
        raise Failure(f"{text}: write it in UTF-8, and set LC_ALL=C.UTF-8", Exit.USAGE) from error
    except Exception as error:
        raise _fault(error) from error
    return int(Exit.OK)


def failure_of_system(error: OSError) -> Failure:
    """Return an error of the operating system as a failure that names the file, if it has one."""
    what = str(error.strerror or error)
    if error.filename is None:
        of_output = error.errno in _OF_OUTPUT and what == os.strerror(error.errno or 0)
        return Failure(f"can't write the output: {what}" if of_output else what)
    hint = _HINTS.get(error.errno or 0, "")
    return Failure(f"{os.fsdecode(error.filename)}: {what}{hint}")


_OF_OUTPUT = frozenset({errno.ENOSPC, errno.EBADF, errno.EIO, errno.EDQUOT, errno.EFBIG})
"""An error of a file that has no name is one of the output. Our own have a whole sentence."""
_HINTS = {
    errno.EACCES: "; give yourself the right, or choose another place",
    errno.EROFS: "; choose a place that can be written",
    errno.ENOSPC: "; make room, or choose another place",
    errno.ENOENT: "; make it, or mend the name",
    errno.ENOTDIR: "; mend the name",
    errno.EISDIR: "; name a file",
}
"""What to do about an error of a file."""


def _fault(error: Exception) -> Failure:
    """Return the failure for an error that nobody has foreseen."""
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    kind = type(error).__name__
    said = " ".join(str(error).split())[:300]
    return Failure(
        f"this is a fault of cellway itself: {kind}: {said}\n  report it, with what {DEBUG}=1 shows"
    )


@contextlib.contextmanager
def _output_failures() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise Failure(f"can't write the output: {why}") from error


def _open_streams() -> None:
    """Have all three streams, and such that take every character.

    A descriptor that is closed would go to the next file that is opened, such as the database. So
    the lowest ones are taken here: stdin ends at once, stdout fails when it is written, and what is
    said on stderr is lost.
    """
    for number, name, flags in (
        (0, "stdin", os.O_RDONLY),
        (1, "stdout", os.O_RDONLY),
        (2, "stderr", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, flags)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # An ASCII terminal shows "\u2192" for an arrow, rather than nothing at all.
            stream.reconfigure(errors="backslashreplace")


def _forget_output() -> None:
    """Keep the interpreter from complaining at its end about output that can't be written."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        with contextlib.suppress(OSError, ValueError):
            os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
