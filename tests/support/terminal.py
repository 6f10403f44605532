"""Programs in a terminal of their own, where Ctrl-C reaches them as a user's does.

The terminal (a pty) sends SIGINT to the whole process group in its foreground, so children that
share the group get it too. What a program leaves behind is found by a variable in its environment,
which all of its descendants inherit, also those in sessions of their own.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "CELLWAY_TEST_TERMINAL"
CTRL_C = b"\x03"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Stopped:
    """How a program has ended."""

    status: int
    """The exit status, negative for a signal."""
    said: str
    """What it has printed after Ctrl-C."""
    before: str
    """What it had printed until then."""
    left: list[str]
    """The descendants that it has left."""


class Terminal:
    """One program in a terminal, which ends with the block."""

    def __init__(self, pid: int, master: int, mark: str) -> None:
        self._pid = pid
        self._master = master
        self._mark = mark
        self._status: int | None = None
        self.said = ""
        """What it has printed so far, without escape sequences."""
        self.raw = ""

    @classmethod
    @contextlib.contextmanager
    def running(
        cls, command: Sequence[str], environment: Mapping[str, str], directory: Path
    ) -> Iterator[Terminal]:
        """Run a program until the block is left."""
        mark = uuid.uuid4().hex
        variables = {**environment, MARK: mark}
        pid, master = pty.fork()
        if pid == 0:
            try:
                os.chdir(directory)
                os.execvpe(command[0], list(command), variables)
            finally:
                os._exit(127)
        terminal = cls(pid, master, mark)
        try:
            yield terminal
        finally:
            for left in terminal.descendants():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(left, signal.SIGKILL)
            if terminal._status is None:
                os.waitpid(pid, 0)
            os.close(master)

    def read_for(self, seconds: float) -> None:
        """Read what is printed during some seconds, or until the program has ended."""
        deadline = time.monotonic() + seconds
        while (rest := deadline - time.monotonic()) > 0 and not self.has_ended:
            self._read(min(rest, 0.05))

    def read_until(self, text: str, timeout_s: float = 60) -> None:
        """Read until a text has been printed."""
        deadline = time.monotonic() + timeout_s
        while text not in self.said:
            assert not self.has_ended, self.said
            assert time.monotonic() < deadline, self.said
            self._read(0.05)

    def stop(self, timeout_s: float = 60) -> Stopped:
        """Press Ctrl-C, and wait for the end."""
        self._read(0)
        before, self.said = self.said, ""
        with contextlib.suppress(OSError):
            os.write(self._master, CTRL_C)
        self.read_for(timeout_s)
        if self._status is None:
            raise AssertionError(f"it goes on after Ctrl-C: {before}\n^C\n{self.said}")
        said, self.said = self.said, before + self.said
        names = [name for pid in self.descendants() if (name := _command(pid))]
        return Stopped(self._status, said, before, names)

    @property
    def has_ended(self) -> bool:
        """Whether the program has ended; then everything that it has printed is read."""
        if self._status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
                while self._read(0):
                    pass
        return self._status is not None

    def descendants(self) -> list[int]:
        """Return the processes that it has started and that run, itself included."""
        wanted = f"{MARK}={self._mark}".encode()
        found: list[int] = []
        for directory in Path("/proc").iterdir():
            if directory.name.isdecimal():
                with contextlib.suppress(OSError):
                    if wanted in (directory / "environ").read_bytes().split(b"\0"):
                        found.append(int(directory.name))
        return found

    def _read(self, timeout_s: float) -> bool:
        """Read what is there; return whether there was something."""
        ready, _, _ = select.select([self._master], [], [], timeout_s)
        part = b""
        if ready:
            # Linux says EIO when the last process of the terminal has closed it.
            with contextlib.suppress(OSError):
                part = os.read(self._master, 65536)
        text = part.decode(errors="replace")
        self.raw += text
        self.said += _ESCAPES.sub("", text.replace("\r", ""))
        return bool(part)


def _command(pid: int) -> str:
    """Return the arguments of a process; nothing if it has ended meanwhile."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""
