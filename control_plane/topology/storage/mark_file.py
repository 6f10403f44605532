"""Remembers, in a file outside the database, the highest ids that were ever given.

An id that was given once must never be given to another. But a database that is restored from a
backup has forgotten the ids that were given since. The file lies outside the database and outside
its backups, so a restore can't turn it back:

    {"mark": 2000000, "cell": 12}

The file also tells that a database has been here, so that a start without the database is noticed.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from control_plane.topology.storage.driver_errors import trouble_of
from control_plane.topology.values.errors import Invalid, Problem


@dataclass(frozen=True, slots=True)
class HighestIds:
    """The highest ids ever given; 0 where none was."""

    sequence: int = 0
    """The highest id of all sequence ranges (``mark`` in the file)."""
    cell: int = 0
    """The highest id of a cell."""


@dataclass(frozen=True, slots=True)
class MarkFile:
    """A file with one JSON object, which is replaced atomically and only ever raised."""

    path: Path

    def read(self) -> HighestIds:
        """Return what the file says; zeros where there is no file yet.

        Raises:
            Invalid: the file is not what this class writes.
            DatabaseTrouble: it can't be read.
        """
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return HighestIds()
        except OSError as error:
            raise trouble_of(error, self.path) from error
        try:
            document = json.loads(text)
        except ValueError as error:
            raise self._malformed(str(error)) from error
        fields = document if isinstance(document, dict) else {}
        # A file from before cells had ids of their own lacks ``cell``.
        return HighestIds(self._number(fields.get("mark")), self._number(fields.get("cell", 0)))

    def _number(self, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self._malformed(f"{value!r} is no mark")
        return value

    def _malformed(self, why: str) -> Invalid:
        hint = (
            'write {"mark": N, "cell": M}, N the highest id that any cell may hand out, M the '
            "highest id of a cell"
        )
        return Invalid(Problem(str(self.path), f"malformed: {why}", hint))

    def raise_to(self, *, sequence: int = 0, cell: int = 0) -> None:
        """Raise the file's ids to at least these, on disk, before this returns.

        It makes the file where there is none: then a database has been here.

        Raises:
            Invalid: the file is not what this class writes.
            DatabaseTrouble: it can't be written, for example because the disk is full.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            directory = os.open(self.path.parent, os.O_RDONLY)
            try:
                # Another process that starts meanwhile must not write down what it read before.
                fcntl.flock(directory, fcntl.LOCK_EX)
                before = self.read()
                after = HighestIds(max(sequence, before.sequence), max(cell, before.cell))
                if after != before or not self.path.exists():
                    self._write(after)
                    os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise trouble_of(error, self.path) from error

    def _write(self, highest: HighestIds) -> None:
        new = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            with open(os.open(new, flags, 0o600), "w") as file:  # noqa: PTH123 - a descriptor
                file.write(json.dumps({"mark": highest.sequence, "cell": highest.cell}) + "\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
        finally:
            new.unlink(missing_ok=True)
