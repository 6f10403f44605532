"""Ranges of ids; the class is mixed into `Topology`."""

from __future__ import annotations

from dataclasses import replace

from control_plane.topology.cells import ids
from control_plane.topology.cells import lifecycle as cells
from control_plane.topology.cells import sequence_ranges as sequences
from control_plane.topology.cells.sequence_ranges import SequenceMark, SequenceUse
from control_plane.topology.storage.store import Store
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.cell import Cell, SequenceRange
from control_plane.topology.values.change import Written


class SequenceCalls:
    """Each method is one transaction. Ranges also come with a cell's attributes."""

    _store: Store

    def allot_sequence(
        self,
        cell: str,
        size: int = sequences.DEFAULT_SIZE,
        *,
        actor: str,
        expected_version: int | None = None,
        dry_run: bool = False,
    ) -> Written[SequenceRange]:
        """Give a cell the next range of so many ids, after all that was ever allotted.

        Raises:
            NotFound: no such cell.
            Invalid: no such range is left.
            Refused: the database is older than the mark file; see `confirm_sequences`.
            StaleVersion: the cell is not at the expected version.
        """

        def work(tx: Transaction) -> SequenceRange:
            found: Cell = cells.get(tx.connection, cell)
            new = sequences.next_range(tx, size)
            spec = found.spec()
            ranges = (*spec.sequence_ranges, new)
            wider = replace(spec, sequence_ranges=ranges)
            cells.replace(tx, cell, wider, expected_version, force=True)
            return new

        made, tx = self._store.write(actor, work, dry_run=dry_run)
        revision = tx.revision if tx.took_revision else tx.revision - 1
        return Written(made, revision, tuple(tx.changes))

    def report_sequence(
        self, cell: str, last: int, *, actor: str, dry_run: bool = False
    ) -> SequenceUse:
        """Note the highest id that a cell has handed out; how far its ranges are used.

        Raises:
            NotFound: no such cell, or it has no range.
            Invalid: the id is in none of its ranges.
        """

        def work(tx: Transaction) -> SequenceUse:
            return sequences.report(tx, cells.get(tx.connection, cell), last)

        return self._store.write(actor, work, dry_run=dry_run)[0]

    def sequence_uses(self) -> list[SequenceUse]:
        """How far each cell's ranges are used."""
        with self._store.read() as connection:
            return sequences.uses(connection)

    def sequence_mark(self) -> SequenceMark:
        """The high-water marks, in the database and outside; ``restored`` is cause for alarm."""
        file = self._store.sequence_mark
        with self._store.read() as connection:
            known = sequences.mark(connection)
        return replace(known, outside=None if file is None else file.read())

    def confirm_sequences(self, *, actor: str) -> SequenceMark:
        """After a restore: take the file's mark as true, and allot only above it from now on.

        Raises:
            Refused: there is nothing to confirm.
        """
        return self._store.write(actor, sequences.confirm)[0]

    def raise_sequence_mark(self) -> None:
        """Have the mark file know what the database knows; other processes may have allotted."""
        file = self._store.sequence_mark
        if file is not None:
            with self._store.read() as connection:
                known, cell = sequences.mark(connection).mark, ids.highest(connection)
            file.raise_to(known, cell=cell)
