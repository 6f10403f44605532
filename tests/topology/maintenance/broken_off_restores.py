"""Kills a restore at each of its steps, and looks at what is left. Run as a program.

A step is an audit event of Python (open, rename, link, remove, connect) or an SQL statement.

Args:
    the directory of the prepared files: ``old/`` with a database, its log and its mark file,
    ``backup.db``; and a directory to work in.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from control_plane.topology.maintenance import files
from control_plane.topology.maintenance.restore import restore

_FILE_EVENTS = ("open", "os.rename", "os.link", "os.remove", "os.mkdir", "sqlite3.connect")


class Executioner:
    """Kills this process at one of its steps."""

    def __init__(self, step: int) -> None:
        self._left = step

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Count an audit event that is about a database."""
        if event in _FILE_EVENTS and ".db" in str(arguments[0]):
            self.count()

    def count(self) -> None:
        """Count a step."""
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


def killed_at(step: int, url: str, backup: Path) -> bool:
    """Restore in a child that is killed at a step; return False if it has ended before."""
    child = os.fork()
    if child == 0:
        executioner = Executioner(step)

        class Counted(sqlite3.Connection):
            def execute(self, *arguments: Any) -> sqlite3.Cursor:
                executioner.count()
                return super().execute(*arguments)

            def backup(self, *arguments: Any, **options: Any) -> None:
                super().backup(*arguments, **options)
                executioner.count()

        files.sqlite3.connect = partial(sqlite3.connect, factory=Counted)
        sys.addaudithook(executioner.hook)
        restore(url, backup)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return os.WIFSIGNALED(status)


def content(database: Path) -> str:
    """Return which database this is, and check it as a whole."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        later = connection.execute("SELECT 1 FROM claims WHERE value = 'later'").fetchone()
        first = connection.execute("SELECT count(*) FROM claims").fetchone()[0]
        assert first - bool(later) == 100
    return "old" if later else "new"


def main(prepared: Path, work: Path) -> None:
    """Kill restores until one is not killed; print what each has left."""
    step, killed = 0, True
    while killed:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(prepared / "old", work)
        url = f"sqlite:///{work}/live.db"
        killed = killed_at(step, url, prepared / "backup.db")
        left = content(work / "live.db")
        if killed and left == "old" and step % 3 == 0:
            # What is left does not keep anybody from doing it again.
            restore(url, prepared / "backup.db")
            assert content(work / "live.db") == "new"
            assert content(work / "live.db.replaced") == "old"
        print(step, left, flush=True)
        step += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
