"""The cells of the topology, as `Topology.cells` offers them: each method is one transaction."""

from __future__ import annotations

from dataclasses import replace

from control_plane.topology.cells import lifecycle, rows
from control_plane.topology.storage import Store, Transaction
from control_plane.topology.values import Cell, CellSpec, CellState, Written


class Cells:
    """Reads and writes cells.

    A write takes ``actor`` (who asks, for the audit) and ``dry_run`` (check everything, return
    what would change, and roll back).
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> tuple[Cell, ...]:
        """Return every cell, ordered by id."""
        with self._store.read() as connection:
            return rows.all_cells(connection)

    def get(self, name: str) -> Cell:
        """Return one cell; raise `NotFound` if there is none of this name."""
        with self._store.read() as connection:
            return rows.get_cell(connection, name)

    def create(self, spec: CellSpec, *, actor: str, dry_run: bool = False) -> Written[Cell]:
        """Add a cell; raise `Invalid`, or `AlreadyExists` (also for the id of a deleted cell)."""
        return self._store.written(actor, lambda tx: lifecycle.create(tx, spec), dry_run=dry_run)

    def replace(
        self,
        name: str,
        spec: CellSpec,
        *,
        actor: str,
        expected_version: int | None = None,
        force: bool = False,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> Written[Cell]:
        """Replace a cell's attributes.

        Args:
            name: the cell.
            spec: all attributes as they are to be.
            actor: who asks.
            expected_version: the version that the cell must be at; None for any.
            force: do it although a guard of its state refuses.
            reason: why, for the audit; needed with ``force``.
            dry_run: check everything and change nothing.

        Raises:
            NotFound: there is no such cell.
            StaleVersion: the cell is not at the expected version.
            Invalid: the spec is malformed, or has another id or name.
            AlreadyExists: another cell has the address, the session prefix or a sequence range.
            Refused: a guard refuses the change.
        """
        return self._store.written(
            actor,
            lambda tx: lifecycle.replace(
                tx, name, spec, expected_version, force=force, reason=reason
            ),
            dry_run=dry_run,
        )

    def set_state(
        self,
        name: str,
        state: CellState,
        *,
        actor: str,
        expected_version: int | None = None,
        force: bool = False,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> Written[Cell]:
        """Bring a cell to another state; raise `Refused` if a guard refuses that step."""

        def work(tx: Transaction) -> Cell:
            spec = replace(rows.get_cell(tx.connection, name).spec(), state=state)
            return lifecycle.replace(tx, name, spec, expected_version, force=force, reason=reason)

        return self._store.written(actor, work, dry_run=dry_run)

    def set_health(self, name: str, *, healthy: bool, actor: str) -> Written[Cell]:
        """Record whether a cell is up; repeating the same changes nothing."""
        return self._store.written(
            actor, lambda tx: lifecycle.set_health(tx, name, healthy=healthy)
        )

    def remove(
        self,
        name: str,
        *,
        actor: str,
        expected_version: int | None = None,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> Written[Cell]:
        """Delete a retired cell that owns no claims; raise `Refused` otherwise."""
        return self._store.written(
            actor, lambda tx: lifecycle.remove(tx, name, expected_version, reason), dry_run=dry_run
        )
