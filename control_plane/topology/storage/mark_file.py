"""The highest ids ever given, in a file outside the database: a restore can't turn them back."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from control_plane.topology.values.errors import Invalid, Problem


@dataclass(frozen=True, slots=True)
class Marks:
    """``mark``: the highest id of a sequence range. ``cell``: the highest id of a cell."""

    mark: int = 0
    cell: int = 0


@dataclass(frozen=True, slots=True)
class MarkFile:
    """One JSON object, ``{"mark": N, "cell": M}``, replaced atomically and only ever raised."""

    path: Path

    def read(self) -> int:
        """The mark of sequences; as `marks`."""
        return self.marks().mark

    def marks(self) -> Marks:
        """Both marks; 0 where there is no file yet, or none for cells.

        Raises:
            Invalid: the file is not what this class writes.
        """
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return Marks()
        try:
            found = json.loads(text)
        except ValueError as error:
            raise self._malformed(str(error)) from error
        given = found if isinstance(found, dict) else {}
        return Marks(self._number(given.get("mark")), self._number(given.get("cell", 0)))

    def _number(self, given: object) -> int:
        if not isinstance(given, int) or isinstance(given, bool) or given < 0:
            raise self._malformed(f"{given!r} is no mark")
        return given

    def _malformed(self, why: str) -> Invalid:
        mend = (
            'write {"mark": N, "cell": M}, N the highest id that any cell may hand out, M the '
            "highest id of a cell"
        )
        return Invalid(Problem(str(self.path), f"malformed: {why}", mend))

    def raise_to(self, mark: int = 0, *, cell: int = 0) -> None:
        """Have the file say at least so much, on disk, before this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            # Another process that starts meanwhile must not write down what it read before.
            fcntl.flock(directory, fcntl.LOCK_EX)
            known = self.marks()
            raised = Marks(max(mark, known.mark), max(cell, known.cell))
            if raised != known:
                self._write(raised)
                os.fsync(directory)
        finally:
            os.close(directory)

    def _write(self, marks: Marks) -> None:
        new = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        with new.open("w") as file:
            file.write(json.dumps(asdict(marks)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)
