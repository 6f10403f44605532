"""Brings cells and rulesets to what files say, all of it in one transaction.

The caller has compared the files with the topology as of one revision, the base. If a cell or a
ruleset was changed after that, the comparison no longer holds and nothing is done.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from control_plane.topology import changes, rulesets
from control_plane.topology.cells import lifecycle, rows
from control_plane.topology.storage import Store, Transaction
from control_plane.topology.values import (
    Cell,
    CellSpec,
    Change,
    Gone,
    NotFound,
    Refused,
    Ruleset,
    StaleVersion,
    Written,
)

_BY_ITSELF = frozenset({"healthy", "share", "version"})
"""The attributes of a cell that its health check or a drain changes, and that no file has."""


@dataclass(frozen=True, slots=True)
class Desired:
    """The state that files describe."""

    cells: Sequence[CellSpec]
    rulesets: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """Documents by name. Rulesets that are not named stay as they are."""
    active: str | None = None
    """The name of the ruleset that is to route; None leaves that as it is."""
    prune: bool = False
    """Whether cells that are not named are to be deleted."""


class DesiredState:
    """Brings the topology to what files say, all of it or nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def apply(
        self,
        desired: Desired,
        *,
        base: int,
        actor: str,
        force: bool = False,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> Written[None]:
        """Change what differs from the desired state, under one revision, if anything differs.

        Args:
            desired: the state to bring about.
            base: the revision that the state was compared with.
            actor: who writes, for the audit.
            force: override the guards of a cell's life.
            reason: why, for the audit; needed with ``force``.
            dry_run: do everything, then roll it back.

        Raises:
            StaleVersion: a cell or a ruleset was changed after revision ``base``.
            Refused: a guard refuses, or a cell would lose a sequence range.
            NotFound: the ruleset that is to be active doesn't exist.
            Invalid, AlreadyExists: as for the single calls.
        """

        def work(tx: Transaction) -> None:
            _check_base(tx, base)
            _apply_cells(tx, desired, force=force, reason=reason)
            _apply_rulesets(tx, desired)

        return self._store.written(actor, work, dry_run=dry_run)


def text_of(document: Mapping[str, Any]) -> str:
    """Return a ruleset's document as the topology stores it."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _check_base(tx: Transaction, base: int) -> None:
    """Raise `StaleVersion` if a cell or a ruleset was changed after a revision."""
    try:
        later = changes.since(tx.connection, base, kinds={"cell", "ruleset"})
    except Gone as error:
        raise StaleVersion("topology", "all", base, tx.revision - 1) from error
    for change in later:
        if not _came_by_itself(change):
            raise StaleVersion("topology", f"{change.kind} {change.key}", base, change.revision)


def _came_by_itself(change: Change) -> bool:
    """Return whether a change is one that a health check or a drain made."""
    before, after = change.before, change.after
    if change.kind != "cell" or before is None or after is None:
        return False
    return all(before.get(key) == after.get(key) for key in before.keys() - _BY_ITSELF)


def _apply_cells(tx: Transaction, desired: Desired, *, force: bool, reason: str | None) -> None:
    existing = {cell.name: cell for cell in rows.all_cells(tx.connection)}
    if desired.prune:
        # These go first, because the cells that take their place may want their addresses.
        for name in existing.keys() - {spec.name for spec in desired.cells}:
            lifecycle.remove(tx, name, None, reason)
            del existing[name]
    # To read all cells anew for each would take a minute for a thousand of them.
    cells = existing.values()
    for spec in desired.cells:
        name = spec.name
        if name in existing:
            _check_ranges(existing[name], spec)
            existing[name] = lifecycle.replace(
                tx, name, spec, None, force=force, reason=reason, cells=cells
            )
        else:
            existing[name] = lifecycle.create(tx, spec, cells)


def _check_ranges(cell: Cell, spec: CellSpec) -> None:
    """Raise `Refused` where a cell would lose ids that it was allotted."""
    for span in cell.sequence_ranges:
        covered = any(
            one.minval <= span.minval and span.maxval <= one.maxval for one in spec.sequence_ranges
        )
        if not covered:
            what = f"taking {span.minval}..{span.maxval} from {cell.name}"
            raise Refused(what, "a cell keeps the ranges that it has; export its file anew")


def _apply_rulesets(tx: Transaction, desired: Desired) -> None:
    for name, document in desired.rulesets.items():
        newest = rulesets.newest(tx.connection, name)
        if name != desired.active and not _says(newest, document):
            rulesets.put(tx, name, text_of(document), None)
    if desired.active is not None:
        _activate(tx, desired.active, desired.rulesets.get(desired.active))


def _activate(tx: Transaction, name: str, document: Mapping[str, Any] | None) -> None:
    """Make a ruleset the one that routes, by its newest version or by a document.

    If the version that routes now is of that name and document, it stays.
    """
    current = rulesets.active(tx.connection)
    same = current is not None and current.name == name
    if current is not None and same and (document is None or _says(current, document)):
        return
    newest = rulesets.newest(tx.connection, name)
    if document is not None and not _says(newest, document):
        newest = rulesets.put(tx, name, text_of(document), None)
    if newest is None:
        raise NotFound("ruleset", name)
    rulesets.activate(tx, name, newest.version, None)


def _says(stored: Ruleset | None, document: Mapping[str, Any]) -> bool:
    """Return whether a stored ruleset says what a document says; one that is no JSON does not."""
    try:
        return stored is not None and bool(json.loads(stored.document) == document)
    except (ValueError, RecursionError):
        return False
