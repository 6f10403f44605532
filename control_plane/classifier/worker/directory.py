"""A directory for the workers of one server: what they have counted, and who they are."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)
WORKER_MODULE = "control_plane.classifier.worker.main"
END_S = 3.0
"""How long an orphan may take to end before it is killed."""


@contextlib.contextmanager
def worker_directory(data_dir: Path) -> Iterator[Path]:
    """A directory for the life of one server.

    Counts outlive a worker but not the server, as counters in memory would. A server that was
    killed leaves its directory, with the lock free, and its workers, which go on deciding: they are
    ended now, because they hold the port that the new ones need.
    """
    root = data_dir / "classifier-workers"
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as sweeping:
        fcntl.flock(sweeping, fcntl.LOCK_EX)
        for old in root.iterdir():
            if old.is_dir() and not _in_use(old):
                for worker in orphans(old):
                    log.warning("ending classifier process %d, left by a killed server", worker)
                    _end(worker)
                shutil.rmtree(old)
        made = Path(tempfile.mkdtemp(dir=root))
        lock = (made / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    with lock:
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)


def note_worker(directory: Path, slot: int, pid: int) -> None:
    """Remember who runs in a slot."""
    (directory / f"{slot}.pid").write_text(str(pid))


def orphans(directory: Path) -> list[int]:
    """The noted workers that still run (and whose number is not another program's by now)."""
    pids = [int(file.read_text() or 0) for file in directory.glob("*.pid")]
    return [pid for pid in pids if _is_worker(pid)]


def _is_worker(pid: int) -> bool:
    try:
        return WORKER_MODULE.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + END_S
        while _is_worker(pid) and time.monotonic() < until:
            time.sleep(0.02)
        if _is_worker(pid):
            os.kill(pid, signal.SIGKILL)
            while _is_worker(pid):
                time.sleep(0.02)


def _in_use(directory: Path) -> bool:
    with (directory / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
