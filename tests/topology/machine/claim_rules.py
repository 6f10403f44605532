"""Writes of claims."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.errors import AlreadyExists, Invalid, NotFound, Refused
from tests.topology.machine.model import BAD_VALUES, SPELLINGS, Key, takes_new
from tests.topology.machine.writes import Error, WritingMachine, cell_names, flags

values = st.sampled_from(
    [(key[0], text, key) for key, texts in SPELLINGS.items() for text in texts]
)
bad_values = st.sampled_from(BAD_VALUES)
batches = st.lists(values, min_size=1, max_size=4)


class ClaimRules(WritingMachine):
    """Keys are claimed and released, in whatever spelling."""

    @rule(batch=batches, owners=st.lists(cell_names, min_size=4, max_size=4), dry_run=flags)
    def claim(self, batch: list[tuple[str, str, Key]], owners: list[str], dry_run: bool) -> None:
        specs = [
            ClaimSpec(bucket, value, cell)
            for (bucket, value, _), cell in zip(batch, owners, strict=False)
        ]
        keys = [key for _, _, key in batch]
        refused: set[Error] = set()
        cells = [self.model.cells.get(spec.cell) for spec in specs]
        if None in cells:
            refused.add(NotFound)
        if any(cell is not None and not takes_new(cell) for cell in cells):
            refused.add(Refused)
        if not refused and len(set(keys)) < len(keys):
            refused.add(Invalid)
        if not refused and any(key in self.model.claims for key in keys):
            refused.add(AlreadyExists)
        written = self.write(
            lambda: self.topology.claims.claim(specs, actor="m", dry_run=dry_run),
            refused,
            dry_run=dry_run,
            changes=len(batch),
        )
        if written is not None:
            assert [(one.bucket, one.value) for one in written] == keys
            self.model.claims |= {key: spec.cell for key, spec in zip(keys, specs, strict=True)}

    @rule(batch=batches, bad=bad_values, cell=cell_names)
    def claim_with_a_bad_value(
        self, batch: list[tuple[str, str, Key]], bad: Key, cell: str
    ) -> None:
        specs = [ClaimSpec(bucket, value, cell) for bucket, value, _ in batch]
        refused: set[Error] = {Invalid}
        if cell not in self.model.cells:
            refused = {NotFound}
        elif not takes_new(self.model.cells[cell]):
            refused = {Refused}
        self.write(
            lambda: self.topology.claims.claim([*specs, ClaimSpec(*bad, cell)], actor="m"),
            refused,
            dry_run=False,
            changes=0,
        )

    @rule(batch=batches, cell=st.none() | cell_names, dry_run=flags)
    def release(self, batch: list[tuple[str, str, Key]], cell: str | None, dry_run: bool) -> None:
        self._release([value[:2] for value in batch], {value[2] for value in batch}, cell, dry_run)

    @rule(data=st.data())
    def release_what_is_there(self, data: st.DataObject) -> None:
        if self.model.claims:
            keys = data.draw(st.sets(st.sampled_from(sorted(self.model.claims)), min_size=1))
            self._release(
                [(key[0], data.draw(st.sampled_from(SPELLINGS[key]))) for key in sorted(keys)],
                keys,
                None,
                dry_run=False,
            )

    def _release(self, spelled: list[Key], keys: set[Key], cell: str | None, dry_run: bool) -> None:
        refused: set[Error] = set()
        if any(key not in self.model.claims for key in keys):
            refused.add(NotFound)
        if cell is not None and any(self.model.claims.get(key, cell) != cell for key in keys):
            refused.add(Refused)
        released = self.write(
            lambda: self.topology.claims.release(spelled, actor="m", cell=cell, dry_run=dry_run),
            refused,
            dry_run=dry_run,
            changes=len(keys),
        )
        if released is not None:
            assert {(one.bucket, one.value) for one in released} == keys
            for key in keys:
                del self.model.claims[key]
