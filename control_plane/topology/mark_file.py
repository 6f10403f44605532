"""The highest id ever allotted, in a file outside the database: a restore can't turn it back."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from control_plane.topology.errors import Invalid, Problem


@dataclass(frozen=True, slots=True)
class MarkFile:
    """One JSON object, ``{"mark": N}``, replaced atomically and only ever raised."""

    path: Path

    def read(self) -> int:
        """The mark; 0 where there is no file yet.

        Raises:
            Invalid: the file is not what this class writes.
        """
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return 0
        try:
            found = json.loads(text)
        except ValueError as error:
            raise self._malformed(str(error)) from error
        mark = found.get("mark") if isinstance(found, dict) else None
        if type(mark) is not int or mark < 0:
            raise self._malformed(f"{mark!r} is no mark")
        return mark

    def _malformed(self, why: str) -> Invalid:
        mend = 'write {"mark": N}, N the highest id that any cell may hand out'
        return Invalid(Problem(str(self.path), f"malformed: {why}", mend))

    def raise_to(self, mark: int) -> None:
        """Have the file say at least ``mark``, on disk, before this returns."""
        if mark <= self.read():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        with new.open("w") as file:
            file.write(json.dumps({"mark": mark}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
