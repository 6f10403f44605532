"""Sequence ranges of cells, as `Topology.sequences` offers them."""

from __future__ import annotations

from dataclasses import replace

from control_plane.topology.cells import ids, lifecycle, rows, sequence_ranges
from control_plane.topology.storage import Store, Transaction
from control_plane.topology.values import HighWaterMark, SequenceRange, SequenceUse, Written


class Sequences:
    """Allots ranges of ids to cells, and tells how far cells have used them.

    A cell also gets the ranges that are named among its attributes. Each method is one
    transaction.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def allot(
        self,
        cell: str,
        size: int = sequence_ranges.DEFAULT_SIZE,
        *,
        actor: str,
        expected_version: int | None = None,
        dry_run: bool = False,
    ) -> Written[SequenceRange]:
        """Allot the next ``size`` ids to a cell: the range above all that were ever allotted.

        Raises:
            NotFound: there is no such cell.
            Invalid: no such range is left.
            Refused: the database is older than the mark file; see `confirm`.
            StaleVersion: the cell is not at the expected version.
        """

        def work(tx: Transaction) -> SequenceRange:
            spec = rows.get_cell(tx.connection, cell).spec()
            allotted = sequence_ranges.next_range(tx, size)
            wider = replace(spec, sequence_ranges=(*spec.sequence_ranges, allotted))
            lifecycle.replace(tx, cell, wider, expected_version, force=False)
            return allotted

        return self._store.written(actor, work, dry_run=dry_run)

    def report(self, cell: str, last: int, *, actor: str, dry_run: bool = False) -> SequenceUse:
        """Record the highest id that a cell has handed out; return how far its ranges are used.

        Raises:
            NotFound: there is no such cell, or it has no range.
            Invalid: the id is in none of its ranges.
        """

        def work(tx: Transaction) -> SequenceUse:
            return sequence_ranges.report(tx, rows.get_cell(tx.connection, cell), last)

        return self._store.write(actor, work, dry_run=dry_run)[0]

    def uses(self) -> list[SequenceUse]:
        """Return how far each cell's ranges are used, ordered by the cell's name."""
        with self._store.read() as connection:
            return sequence_ranges.uses(connection)

    def high_water_mark(self) -> HighWaterMark:
        """Return the highest id allotted, as the database and as the mark file know it."""
        with self._store.read() as connection:
            return sequence_ranges.high_water_mark(connection, self._store.sequence_mark)

    def confirm(self, *, actor: str) -> HighWaterMark:
        """After a restore, take the mark file's mark as true: new ranges start above it.

        Raises:
            Refused: the database is not older than the mark file.
        """
        return self._store.write(actor, sequence_ranges.confirm)[0]

    def raise_mark_file(self) -> None:
        """Bring the mark file up to the database: a process without the file may have allotted."""
        file = self._store.sequence_mark
        if file is not None:
            with self._store.read() as connection:
                mark = sequence_ranges.high_water_mark(connection, None).mark
                cell = ids.highest(connection)
            file.raise_to(sequence=mark, cell=cell)
