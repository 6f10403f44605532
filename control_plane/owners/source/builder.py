"""Makes bases of a topology's owners: here if there are few names, else in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import mmap
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from control_plane.owners.base import Base
from control_plane.owners.sorted_base import SortedFrames, read_base
from control_plane.owners.source.build import MODULE, TooManyNames, base_file
from control_plane.topology import Topology
from control_plane.topology.values.errors import Unavailable

log = logging.getLogger(__name__)
NAMES_HERE = 20_000
"""So many names take a thread of this process 0.1 s. To start another process takes half a second
of processor time."""
MAX_ERROR_BYTES = 2000
"""What is repeated of what the process says when it fails."""
SLOW_STOP_S = 5.0
"""How long a caller that is cancelled waits for a thread that reads the database."""


class BaseBuilder:
    """Makes bases, one at a time."""

    def __init__(self, topology: Topology, directory: Path, names_here: int = NAMES_HERE) -> None:
        """Make nothing yet.

        Args:
            topology: Whose claims are read.
            directory: Where the files of large bases are. They have no names there, so none is
                left behind, however this process ends.
            names_here: From how many names on another process does the work.
        """
        self._topology = topology
        self._directory = directory
        self._names_here = names_here

    async def build(self) -> tuple[Base, SortedFrames]:
        """Return a base of the newest revision, and its frames, which can be searched.

        Raises:
            TopologyError: The database can't be read, or the process has failed.
        """
        began = time.monotonic()
        try:
            data: bytes | mmap.mmap = await in_thread(self._build_here)
        except TooManyNames:
            data = await self._build_there()
        base, frames = read_base(data)
        took = time.monotonic() - began
        log.info("read %d owners at revision %d in %.1f s", base.names, base.revision, took)
        return base, frames

    def _build_here(self) -> bytes:
        return b"".join(base_file(self._topology.owners, self._names_here))

    async def _build_there(self) -> mmap.mmap:
        try:
            with tempfile.TemporaryFile(dir=self._directory) as file:
                await self._run(file)
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise Unavailable(f"reading all owners has failed: {error}") from error

    async def _run(self, file: IO[bytes]) -> None:
        """Run the process to its end; it writes to a file."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", MODULE, stdin=pipe, stdout=file, stderr=pipe
        )
        try:
            told = json.dumps({"url": self._topology.url}).encode()
            _, said = await process.communicate(told)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if process.returncode != 0:
            words = said[-MAX_ERROR_BYTES:].decode(errors="replace").strip()
            raise Unavailable(f"reading all owners has failed: {words or process.returncode}")


async def in_thread[T](work: Callable[[], T]) -> T:
    """Have a thread work. A cancelled caller waits for it, because it uses the database."""
    task = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=SLOW_STOP_S)
        raise
