"""The reader of the owners' stream, a second time: what a frame does to the map, in Python."""

from __future__ import annotations

from dataclasses import dataclass, field

from control_plane.edge_module.library import ASK_CELL, NOBODY, Odd, Owner
from tests.edge_module.wire import BASE, BEAT, BEGIN, LAST, Record


@dataclass
class Sent:
    """A frame before it is written down."""

    kind: int
    revision: int
    table: int
    key_id: int = 0
    owners: tuple[Record, ...] = ()
    flags: int = 0


@dataclass
class Reference:
    """What the map has to be after the frames that it took."""

    key_id: int
    lineage: int = 0
    revision: int = 0
    owners: dict[int, int] = field(default_factory=dict)
    building: dict[int, int] | None = None
    begun: tuple[int, int] = (0, 0)

    def take(self, sent: Sent) -> Odd:
        if sent.kind == BEGIN:
            return self._begin(sent)
        if sent.kind == BASE:
            return self._base(sent)
        if self.building is not None:
            return Odd.GOOD if sent.kind == BEAT else Odd.ORDER
        if self.lineage == 0:
            return Odd.ORDER
        if sent.table != self.lineage:
            return Odd.TABLE
        if sent.revision < self.revision:
            return Odd.REVISION
        apply(self.owners, sent)
        self.revision = sent.revision
        return Odd.GOOD

    def _begin(self, sent: Sent) -> Odd:
        if sent.key_id != self.key_id:
            return Odd.KEY
        if sent.table == 0:
            return Odd.TABLE
        if sent.table == self.lineage and sent.revision < self.revision:
            return Odd.REVISION
        self.building, self.begun = {}, (sent.table, sent.revision)
        return Odd.GOOD

    def _base(self, sent: Sent) -> Odd:
        if self.building is None:
            return Odd.ORDER
        if sent.table != self.begun[0]:
            return Odd.TABLE
        if sent.revision != self.begun[1]:
            return Odd.REVISION
        apply(self.building, sent)
        if sent.flags & LAST:
            (self.lineage, self.revision), self.owners = self.begun, self.building
            self.building = None
        return Odd.GOOD

    def reconnected(self) -> None:
        self.building = None

    def owner(self, name: int) -> tuple[Owner, int]:
        cell = self.owners.get(name, NOBODY)
        if self.lineage == 0 or cell == ASK_CELL:
            return Owner.ASK, NOBODY
        return (Owner.UNKNOWN, NOBODY) if cell == NOBODY else (Owner.OWNED, cell)


def apply(owners: dict[int, int], sent: Sent) -> None:
    owners.update(sent.owners)
