"""Reads the table of owners that a server shares with its processes. Nothing here waits.

The table is a sorted base, which all processes map together, and the names that have changed since,
which each holds as a dictionary. `refresh` brings it up to date: mostly that is the comparison of
sixty bytes with those of the last time.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from control_plane.owners.fingerprints import fingerprint
from control_plane.owners.frames import CHANGES, NOBODY, BadFrame, decode_first
from control_plane.owners.mapped.state import (
    STATE_BYTES,
    State,
    base_file,
    decode_state,
    log_file,
    open_page,
)
from control_plane.owners.sorted_base import SortedFrames, read_base
from control_plane.owners.stored_frames import OpenFile

READ_BYTES = 256 << 10
"""So much of the changes is read at once: 20,000 names, in a few milliseconds."""
MAX_REMEMBERED = 65_536
"""How many names are remembered that were asked for: some 15 MB."""
_ATTEMPTS = 3
"""How often a page is read that is being written."""


class SharedTable:
    """The table as of `revision`. For one thread."""

    def __init__(self, page: mmap.mmap, directory: Path) -> None:
        self._page = page
        self._directory = directory
        self._seen = b""
        """The page's bytes, up to which the table was brought."""
        self._usable = False
        self._state = State()
        self._base: SortedFrames | None = None
        self._generation = 0
        self._changed: dict[int, int] = {}
        """The owners that have changed since the base, by fingerprint."""
        self._in_base: dict[tuple[str, str], tuple[int, int]] = {}
        """Names that were asked for: their fingerprints, and their owners as of the base."""
        self._log: OpenFile | None = None
        self._log_read = 0
        self.revision = 0
        """The table is complete up to and with this one, and has nothing newer."""
        self.edge_revision = 0
        """The last change to a cell or the active ruleset, of a moment not before `revision`."""
        self.known_at = 0.0
        """When no newer revision was committed, in seconds of `time.monotonic`."""

    def refresh(self) -> bool:
        """Take over what is new; return whether there is a table, as of the attributes."""
        page = self._page[:STATE_BYTES]
        if page == self._seen:
            return self._usable
        self._usable = self._take(page)
        return self._usable

    def owner_of(self, bucket: str, value: str) -> int:
        """Return the owner of a normalised name: a cell's id, `frames.NOBODY` or `frames.ASK`."""
        found = self._in_base.get((bucket, value)) or self._find(bucket, value)
        return self._changed.get(found[0], found[1])

    def _find(self, bucket: str, value: str) -> tuple[int, int]:
        """Return a name's fingerprint, and its owner as of the base; remember them."""
        assert self._base is not None
        whole = fingerprint(self._state.key, bucket, value)
        found = whole, self._base.owner_of(whole)
        # Names of nobody are not remembered: anybody can ask for any number of them.
        if found[1] != NOBODY or whole in self._changed:
            if len(self._in_base) >= MAX_REMEMBERED:
                self._in_base.clear()
            self._in_base[bucket, value] = found
        return found

    def _take(self, page: bytes) -> bool:
        state = decode_state(page)
        for _ in range(_ATTEMPTS):
            if state is not None:
                break
            page = self._page[:STATE_BYTES]
            state = decode_state(page)
        if state is None:
            return False
        try:
            whole = self._follow(state)
        except (OSError, ValueError):
            # The files are gone, or not what they should be: the next generation will do.
            self._forget()
            whole = False
        if whole:
            self._state = state
            self.revision, self.edge_revision = state.revision, state.edge_revision
            self.known_at = state.known_at
        if whole or self._base is None:
            self._seen = page
        return whole

    @property
    def is_behind(self) -> bool:
        """Whether there are more changes to read than one `refresh` reads."""
        return self._base is not None and not self._usable

    def _forget(self) -> None:
        self._base = self._log = None
        self._generation = 0
        self._changed = {}
        self._in_base = {}

    def _follow(self, state: State) -> bool:
        """Read files up to where the page says; return whether that was all.

        Raises:
            OSError: A file can't be read.
            ValueError: One is damaged.
        """
        if state.generation == 0:
            self._forget()
            return False
        if state.generation != self._generation:
            self._forget()
            self._open(state.generation)
        return self._read_changes(state.log_bytes)

    def _open(self, generation: int) -> None:
        with base_file(self._directory, generation).open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        _, self._base = read_base(mapped)
        self._log = OpenFile(log_file(self._directory, generation), os.O_RDONLY)
        self._log_read = 0
        self._generation = generation

    def _read_changes(self, upto: int) -> bool:
        assert self._log is not None
        if upto > self._log_read:
            data = self._log.read(self._log_read, min(READ_BYTES, upto - self._log_read))
            self._log_read += self._apply(data, is_all=upto - self._log_read <= READ_BYTES)
        return upto == self._log_read

    def _apply(self, data: bytes, *, is_all: bool) -> int:
        """Apply the whole frames in ``data``; return where they end."""
        at = 0
        while at < len(data):
            try:
                frame, end = decode_first(data, at)
            except BadFrame:
                if is_all or at == 0:
                    raise
                return at
            if frame.kind != CHANGES:
                raise BadFrame("the file of changes has something else")
            self._changed.update(frame.records())
            at = end
        return at


def open_shared(directory: Path) -> SharedTable | None:
    """Return the table that the server of a directory shares; None if it shares none.

    It is brought up to date, however much there is to read.
    """
    page = open_page(directory)
    if page is None:
        return None
    table = SharedTable(page, directory)
    while not table.refresh() and table.is_behind:
        pass
    return table
