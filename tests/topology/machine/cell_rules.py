"""Writes of cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from control_plane.topology.values.cell import TRANSITIONS, Cell, CellSpec, CellState, SequenceRange
from control_plane.topology.values.change import Written
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.errors import AlreadyExists, NotFound, Refused, StaleVersion
from tests.topology.machine.model import written_part
from tests.topology.machine.writes import Error, WritingMachine, cell_names, flags, versions

WRITER: dict[str, Any] = {"actor": "m", "reason": "why"}
states = st.sampled_from(CellState)
weights = st.sampled_from([0, 100])
prefixes = st.sampled_from([None, "p", "q"])
ranges = st.sampled_from([(), (SequenceRange(1, 10),), (SequenceRange(5, 20),)])
addresses = st.sampled_from(["x.example", "X.example", "y.example", None])
ids = st.sampled_from([None, None, 1, 2, 7])


class CellRules(WritingMachine):
    """Cells are created, changed and deleted."""

    @rule(
        name=cell_names,
        cell_id=ids,
        address=addresses,
        prefix=prefixes,
        spans=ranges,
        state=states | st.just(CellState.ACTIVE),
        weight=weights,
        dry_run=flags,
    )
    def create_cell(
        self,
        name: str,
        cell_id: int | None,
        address: str | None,
        prefix: str | None,
        spans: tuple[SequenceRange, ...],
        state: CellState,
        weight: int,
        dry_run: bool,
    ) -> None:
        spec = CellSpec(
            name,
            address or f"{name}.example",
            (Endpoint("10.0.0.1", 443),),
            id=cell_id,
            session_prefix=prefix,
            sequence_ranges=spans,
            state=state,
            weight=weight,
        )
        cell = {
            **written_part(spec),
            "id": cell_id or max(self.model.used_ids, default=0) + 1,
            "healthy": True,
            "share": 100,
        }
        taken = name in self.model.cells or self.model.clash(cell)
        taken = taken or cell_id in self.model.used_ids
        written = self.write(
            lambda: self.topology.cells.create(spec, actor="m", dry_run=dry_run),
            {AlreadyExists} if taken else set(),
            dry_run=dry_run,
            changes=1,
            edge=True,
        )
        if written is not None:
            self.model.cells[name] = {**cell, "version": self.revision}
            self.model.used_ids.add(written.id)

    @rule(
        name=cell_names,
        address=addresses,
        prefix=prefixes,
        spans=ranges,
        state=states,
        keep_state=st.booleans(),
        weight=weights,
        version=versions,
        force=flags,
        dry_run=flags,
    )
    def update_cell(
        self,
        name: str,
        address: str | None,
        prefix: str | None,
        spans: tuple[SequenceRange, ...],
        state: CellState,
        keep_state: bool,
        weight: int,
        version: str,
        force: bool,
        dry_run: bool,
    ) -> None:
        before = self.model.cells.get(name)
        if before is not None and keep_state:
            state = CellState(before["state"])
        spec = CellSpec(
            name,
            address or f"{name}.example",
            (Endpoint("10.0.0.2", 443),),
            session_prefix=prefix,
            sequence_ranges=spans,
            state=state,
            weight=weight,
        )
        expected = self.expected(version, before and before["version"])
        self._replace(
            name,
            spec,
            lambda: self.topology.cells.replace(
                name, spec, expected_version=expected, force=force, dry_run=dry_run, **WRITER
            ),
            expected,
            force=force,
            dry_run=dry_run,
        )

    @rule(name=cell_names, state=states, version=versions, force=flags, dry_run=flags)
    def set_cell_state(
        self, name: str, state: CellState, version: str, force: bool, dry_run: bool
    ) -> None:
        before = self.model.cells.get(name)
        spec = None
        if before is not None:
            spec = replace(self.topology.cells.get(name).spec(), state=state)
        expected = self.expected(version, before and before["version"])
        self._replace(
            name,
            spec,
            lambda: self.topology.cells.set_state(
                name, state, expected_version=expected, force=force, dry_run=dry_run, **WRITER
            ),
            expected,
            force=force,
            dry_run=dry_run,
        )

    @rule(name=cell_names, healthy=st.booleans())
    def set_cell_health(self, name: str, healthy: bool) -> None:
        before = self.model.cells.get(name)
        changed = before is not None and before["healthy"] != healthy
        written = self.write(
            lambda: self.topology.cells.set_health(name, healthy=healthy, actor="m"),
            set() if before else {NotFound},
            dry_run=False,
            changes=int(changed),
            edge=True,
        )
        if written is not None and before is not None and changed:
            before |= {"healthy": healthy, "version": self.revision}

    @rule(name=cell_names, version=versions, dry_run=flags)
    def delete_cell(self, name: str, version: str, dry_run: bool) -> None:
        before = self.model.cells.get(name)
        expected = self.expected(version, before and before["version"])
        refused: set[Error] = set()
        if before is None:
            refused = {NotFound}
        elif expected not in {None, before["version"]}:
            refused = {StaleVersion}
        elif before["state"] != "retired" or name in self.model.claims.values():
            refused = {Refused}
        written = self.write(
            lambda: self.topology.cells.remove(
                name, actor="m", expected_version=expected, dry_run=dry_run
            ),
            refused,
            dry_run=dry_run,
            changes=1,
            edge=True,
        )
        if written is not None:
            del self.model.cells[name]

    def _replace(
        self,
        name: str,
        spec: CellSpec | None,
        call: Callable[[], Written[Cell]],
        expected: int | None,
        *,
        force: bool,
        dry_run: bool,
    ) -> None:
        before = self.model.cells.get(name)
        refused: set[Error] = set()
        after: dict[str, Any] = {}
        if before is None or spec is None:
            refused = {NotFound}
        else:
            after = before | written_part(spec)
            if expected not in {None, before["version"]}:
                refused = {StaleVersion}
            elif after != before:
                refused = self._guarded(name, after, force=force)
        written = self.write(
            call,
            refused,
            dry_run=dry_run,
            changes=int(after != before),
            edge=after != before,
            answers=any(
                before is None or after.get(key) != before[key]
                for key in ("address", "session_prefix", "state", "weight")
            ),
        )
        if written is not None and after != before:
            self.model.cells[name] = after | {"version": self.revision}

    def _guarded(self, name: str, after: dict[str, Any], *, force: bool) -> set[Error]:
        before = self.model.cells[name]
        if self.model.clash(after):
            return {AlreadyExists}
        if force:
            return set()
        old, new = CellState(before["state"]), CellState(after["state"])
        if old is not new and new not in TRANSITIONS[old]:
            return {Refused}
        if old is not new and not new.may_own and name in self.model.claims.values():
            return {Refused}
        took = self.model.accepts_new(name)
        others = any(self.model.accepts_new(other) for other in self.model.cells if other != name)
        self.model.cells[name] = after
        takes = self.model.accepts_new(name)
        self.model.cells[name] = before
        return {Refused} if took and not takes and not others else set()
