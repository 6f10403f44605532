"""The directory that a server shares with its workers: their counts and their process ids.

DATA_DIR/classifier-workers/
    lock             held while a server clears up after killed ones
    tmpab12cd/       the directory of one server
        lock         held as long as that server lives
        0.pid        the process id of the worker in slot 0
        0.beat       when it was last seen at work (its modification time, by the monotonic clock)
        counter_0.db what the workers in slot 0 have counted (prometheus_client's format)
"""

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
_WORKER_MODULES = (WORKER_MODULE.encode(), b"control_plane.classifier_worker")
"""The names by which a worker is known: also of one that a version before this one has left."""
END_S = 3.0
"""How long a worker without a server may take to end before it is killed."""


@contextlib.contextmanager
def worker_directory(data_dir: Path) -> Iterator[Path]:
    """Yield a directory that lives as long as one server.

    So counts outlive a worker but not the server, as counters in memory would. A server that was
    killed leaves its directory, with the lock free, and its workers, which go on deciding. They are
    ended here, because they hold the port that the new workers need.
    """
    root = data_dir / "classifier-workers"
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as sweeping:
        fcntl.flock(sweeping, fcntl.LOCK_EX)
        _sweep(root)
        directory = Path(tempfile.mkdtemp(dir=root))
        lock = (directory / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    with lock:
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _sweep(root: Path) -> None:
    """End the workers of killed servers, and delete their directories."""
    for old in root.iterdir():
        if old.is_dir() and not _in_use(old):
            for worker in orphans(old):
                log.warning("ending classifier process %d, left by a killed server", worker)
                _end(worker)
            shutil.rmtree(old)


def note_worker(directory: Path, slot: int, pid: int) -> None:
    """Write down the process id of the worker in a slot."""
    (directory / f"{slot}.pid").write_text(str(pid))


def beat(directory: Path, slot: int, after_s: float = 0.0) -> None:
    """Note that the worker in a slot is at work, or will be after a while.

    The clock is the same for all processes.
    """
    file = directory / f"{slot}.beat"
    file.touch()
    at = time.monotonic_ns() + round(after_s * 1e9)
    os.utime(file, ns=(at, at))


def still_for_s(directory: Path, slot: int) -> float:
    """Return for how long the worker in a slot has done nothing. It may be negative."""
    last = (directory / f"{slot}.beat").stat().st_mtime_ns
    return (time.monotonic_ns() - last) / 1e9


def orphans(directory: Path) -> list[int]:
    """Return the process ids of the workers that still run, of those that were written down.

    An id that another program has got meanwhile is left out.
    """
    pids = [int(file.read_text() or 0) for file in directory.glob("*.pid")]
    return [pid for pid in pids if _is_worker(pid)]


def _is_worker(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return any(module in command for module in _WORKER_MODULES)


def _end(pid: int) -> None:
    """Terminate a worker, and kill it if it does not end within `END_S`."""
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
    """Return whether the server of a directory lives."""
    with (directory / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
