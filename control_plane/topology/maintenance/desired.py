"""Brings cells and rulesets to what files say, in one transaction and from one known revision."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from control_plane.topology import changes, rulesets
from control_plane.topology.cells import lifecycle, rows
from control_plane.topology.storage.store import Store
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.cell import Cell, CellSpec
from control_plane.topology.values.change import Change, Written
from control_plane.topology.values.errors import Gone, NotFound, Refused, StaleVersion

_SEEN = frozenset({"healthy", "version"})
"""What a cell's health check changes by itself."""


@dataclass(frozen=True, slots=True)
class Desired:
    """``rulesets``: documents by name. ``active``: the one that is to route, if it is said."""

    cells: Sequence[CellSpec]
    rulesets: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    active: str | None = None
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
        dry_run: bool = False,
    ) -> Written[None]:
        """Make it so under one revision. What is so already takes none.

        Raises:
            StaleVersion: a cell or a ruleset was changed after revision ``base``.
            Refused: a guard refuses; also where a cell would lose a sequence range.
            NotFound: the ruleset that is to be active doesn't exist.
            Invalid, AlreadyExists: as of the single calls.
        """

        def work(tx: Transaction) -> None:
            _check_base(tx, base)
            _apply_cells(tx, desired, force=force)
            _apply_rulesets(tx, desired)

        return self._store.written(actor, work, dry_run=dry_run)


def text_of(document: Mapping[str, Any]) -> str:
    """A ruleset's document as it is kept."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _check_base(tx: Transaction, base: int) -> None:
    try:
        later = changes.since(tx.connection, base, kinds={"cell", "ruleset"})
    except Gone as error:
        raise StaleVersion("topology", "all", base, tx.revision - 1) from error
    for change in later:
        if not _only_health(change):
            raise StaleVersion("topology", f"{change.kind} {change.key}", base, change.revision)


def _only_health(change: Change) -> bool:
    before, after = change.before, change.after
    if change.kind != "cell" or before is None or after is None:
        return False
    return all(before.get(key) == after.get(key) for key in before.keys() - _SEEN)


def _apply_cells(tx: Transaction, desired: Desired, *, force: bool) -> None:
    known = {cell.name: cell for cell in rows.all_cells(tx.connection)}
    if desired.prune:
        # First: what takes their place may want their address.
        for name in known.keys() - {spec.name for spec in desired.cells}:
            lifecycle.remove(tx, name, None)
    for spec in desired.cells:
        if spec.name not in known:
            lifecycle.create(tx, spec)
            continue
        _keeps_ranges(known[spec.name], spec)
        lifecycle.replace(tx, spec.name, spec, None, force=force)


def _keeps_ranges(cell: Cell, spec: CellSpec) -> None:
    for span in cell.sequence_ranges:
        wide = any(
            one.minval <= span.minval and span.maxval <= one.maxval for one in spec.sequence_ranges
        )
        if not wide:
            what = f"taking {span.minval}..{span.maxval} from {cell.name}"
            raise Refused(what, "what a cell was allotted it keeps; export its file anew")


def _apply_rulesets(tx: Transaction, desired: Desired) -> None:
    for name, document in desired.rulesets.items():
        newest = rulesets.newest(tx.connection, name)
        if name != desired.active and (newest is None or json.loads(newest.document) != document):
            rulesets.put(tx, name, text_of(document), None)
    if desired.active is not None:
        _activate(tx, desired.active, desired.rulesets.get(desired.active))


def _activate(tx: Transaction, name: str, wanted: Mapping[str, Any] | None) -> None:
    """Have this ruleset route, by this document; the version that routes may be the one."""
    current = rulesets.active(tx.connection)
    same = current is not None and current.name == name
    if current is not None and same and wanted in (None, json.loads(current.document)):
        return
    newest = rulesets.newest(tx.connection, name)
    if wanted is not None and (newest is None or json.loads(newest.document) != wanted):
        newest = rulesets.put(tx, name, text_of(wanted), None)
    if newest is None:
        raise NotFound("ruleset", name)
    rulesets.activate(tx, name, newest.version, None)
