"""Programs that a test runs: started, waited for with their log at hand, and always ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

START_S = 60.0
END_S = 10.0
POLL_S = 0.02
LOG_TAIL_CHARS = 4000


class ChildFailed(RuntimeError):
    """A program ended by itself or did not reach a state in time; carries the end of its log."""


class ChildProcess(ABC):
    """A program that writes a log; used with `with`, and started again as often as a test likes.

    A subclass says which command it is and when it is up. Standard output and standard error are
    appended to the log.
    """

    start_timeout_s = START_S
    end_timeout_s = END_S

    def __init__(self, log_path: Path) -> None:
        self.log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return the program and its arguments."""

    @abstractmethod
    def is_up(self) -> bool:
        """Tell whether the program, which runs, can be used."""

    def options(self) -> dict[str, Any]:
        """Return what `subprocess.Popen` gets besides the command and the log."""
        return {}

    def begin(self) -> None:
        """Start the program, and wait for nothing."""
        if self.running:
            raise ChildFailed(f"{self._name} is running already")
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **self.options(),
            )

    def start(self) -> Self:
        """Start the program and wait until it is up; where that fails, none is left running."""
        self.begin()
        try:
            self.wait_until(self.is_up, "up", self.start_timeout_s)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Terminate the program, and kill it if it is there after the bound; safe to repeat."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(self.end_timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End the program at once, as a crash would; safe to repeat."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(self.end_timeout_s)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program alone."""
        os.kill(self.pid, number)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP, then SIGCONT: it takes connections, and never answers."""
        with frozen(self.pid):
            yield

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._started().pid

    def wait(self) -> int:
        """Wait until the program has ended by itself; return its exit status."""
        return self._started().wait(self.start_timeout_s)

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Wait until a condition holds.

        Raises:
            ChildFailed: the program ended first, or the time was over; `what` names the condition.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            if not self.running:
                raise ChildFailed(f"{self._name} ended before: {what}\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ChildFailed(f"{self._name}: not in {timeout_s} s: {what}\n{self.log_tail()}")
            time.sleep(POLL_S)

    def log_tail(self) -> str:
        """Return the end of the log, for failure messages."""
        return self.log_path.read_text(errors="replace")[-LOG_TAIL_CHARS:]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ChildFailed(f"{self._name} is not running")
        return self._process

    @property
    def _name(self) -> str:
        return type(self).__name__

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextlib.contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Stop some processes, then let them go on."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def listens(port: int) -> bool:
    """Tell whether somebody takes connections on a loopback port."""
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False
