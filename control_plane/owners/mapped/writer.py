"""Writes the table of owners of a journal into files that other processes of this machine map.

A base is copied in a thread, beside the generation that is read meanwhile. Changes are appended as
the frames that readers of the stream get, which costs a write to the page cache each. If the disk
refuses a file, there is no table for a while, and the classifier asks the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from control_plane.owners.base import Base
from control_plane.owners.journal import Journal
from control_plane.owners.mapped.state import (
    State,
    base_file,
    create_page,
    encode_state,
    log_file,
)
from control_plane.owners.stored_frames import OpenFile

log = logging.getLogger(__name__)
RETRY_S = 30.0
"""How long nothing is written after the disk has refused a file."""
WRITE_BYTES = 1 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


class SharedOwners:
    """The files of one journal. For one event loop."""

    def __init__(
        self, directory: Path, journal: Journal, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Share nothing yet.

        Args:
            directory: Private to this server and its processes, and empty of such files.
            journal: What is shared.
            clock: The clock of the journal.

        Raises:
            OSError: The directory can't be written.
        """
        self._directory = directory
        self._journal = journal
        self._clock = clock
        self._page = create_page(directory)
        self._generation = 0
        """The one that is read, or was read last."""
        self._log: OpenFile | None = None
        """The changes of the generation that is read; None: there is none."""
        self._log_bytes = 0
        self._position = 0
        self._shared = 0
        """Which base was copied last, as the journal counts bases; 0: none that counts."""
        self._copies = 0
        self._copying: asyncio.Task[Base] | None = None
        self._retry_at = 0.0

    def update(self, key: bytes, edge_revision: int) -> None:
        """Share what is new in the journal.

        Args:
            key: Of the fingerprints.
            edge_revision: The revision of the last change to a cell or to the active ruleset, read
                together with the journal's newest change or later.
        """
        try:
            self._take_copied()
            self._append()
        except OSError as error:
            self._give_up(error)
        if self._log is not None:
            self._say(key, edge_revision)
        self._copy_new_base()

    def void(self) -> None:
        """Share nothing until there is another base: what is shared is of another history."""
        self._write(State())
        self._close_log()
        self._shared = 0

    async def close(self) -> None:
        """Wait for a base that is being copied. What is shared stays as it is."""
        if self._copying is not None:
            await asyncio.wait({self._copying})
            # What it failed with, nobody needs to know any more.
            self._copying.exception()

    def _say(self, key: bytes, edge_revision: int) -> None:
        journal = self._journal
        self._write(
            State(
                self._generation,
                journal.revision,
                edge_revision,
                journal.known_at,
                self._log_bytes,
                key,
            )
        )

    def _write(self, state: State) -> None:
        data = encode_state(state)
        self._page[: len(data)] = data

    def _append(self) -> None:
        """Write the changes that the file does not have."""
        while self._log is not None:
            frames = self._journal.frames(self._position, WRITE_BYTES)
            if frames is None:
                self.void()
            elif not frames:
                return
            else:
                data = b"".join(frames)
                self._log.write(data, self._log_bytes)
                self._log_bytes += len(data)
                self._position += len(frames)

    # Bases

    def _copy_new_base(self) -> None:
        """Begin to copy the journal's base, if it is another one than the last."""
        journal = self._journal
        if journal.base is None or self._shared == journal.bases or self._copying is not None:
            return
        if self._clock() < self._retry_at:
            return
        self._shared = journal.bases
        self._copies += 1
        path = base_file(self._directory, self._copies)
        self._copying = asyncio.create_task(asyncio.to_thread(_copy, journal.base, path))

    def _take_copied(self) -> None:
        """Begin a generation with the base that was copied, if one was."""
        copying = self._copying
        if copying is None or not copying.done():
            return
        self._copying = None
        base = copying.result()
        position = self._journal.position_after(base.revision)
        if self._shared != self._journal.bases or position is None:
            _remove(base_file(self._directory, self._copies))
            return
        made = OpenFile(log_file(self._directory, self._copies), _NEW)
        self._close_log()
        self._generation = self._copies
        self._log, self._log_bytes, self._position = made, 0, position

    def _give_up(self, error: OSError) -> None:
        log.warning("the classifier asks the database: owners can't be shared: %s", error)
        self.void()
        self._retry_at = self._clock() + RETRY_S

    def _close_log(self) -> None:
        """Remove the generation that was read. Who has mapped it goes on until it sees the next."""
        if self._log is None:
            return
        self._log = None
        _remove(base_file(self._directory, self._generation))
        _remove(log_file(self._directory, self._generation))


def _copy(base: Base, path: Path) -> Base:
    """Write a base's frames; runs in a thread."""
    file = OpenFile(path, _NEW)
    end = 0
    for frame in chain((base.begin(),), base.frames):
        file.write(frame, end)
        end += len(frame)
    return base


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
