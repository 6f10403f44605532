"""The cells that requests may be sent to, by everything that a rule can name them by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Protocol

from control_plane.routing.model.decision import ToCell
from control_plane.routing.model.request import Request
from control_plane.routing.shares import Taker, shared_out


class Cell(Protocol):
    """What routing needs of a cell; `topology.values.cell.Cell` has these attributes."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def session_prefix(self) -> str | None: ...
    @property
    def retired(self) -> bool: ...
    @property
    def serving(self) -> bool: ...
    @property
    def takes_new(self) -> bool: ...
    @property
    def accepts_new(self) -> bool: ...
    @property
    def weight(self) -> int: ...
    @property
    def share(self) -> int: ...


class Held(Protocol):
    """What a move says of requests for the claims that it holds; see `routing.holds`."""

    def cell_for(self, rule: str, request: Request) -> int | None:
        """Return the id of the cell that gets a request; None: it is refused for now."""


NO_HOLDS: Mapping[int, Held] = MappingProxyType({})


def in_service[C: Cell](cells: Iterable[C]) -> list[C]:
    """Return the cells that exist for routing and for the edge: all but the retired ones."""
    return [cell for cell in cells if not cell.retired]


class Cells:
    """An immutable index of the cells that are in service; to every rule others are unknown."""

    def __init__(self, cells: Iterable[Cell], holds: Mapping[int, Held] = NO_HOLDS) -> None:
        """Index ``cells``, which may be in any order and have retired ones among them.

        Args:
            cells: The cells.
            holds: By minus its number, what each move says that holds claims.
        """
        self.holds = holds
        ordered = sorted(in_service(cells), key=lambda cell: cell.id)
        self.all: tuple[Cell, ...] = tuple(ordered)
        self.by_id: Mapping[int, Cell] = MappingProxyType({c.id: c for c in ordered})
        self.by_name: Mapping[str, Cell] = MappingProxyType({c.name: c for c in ordered})
        self.by_prefix: Mapping[str, Cell] = MappingProxyType(
            {c.session_prefix: c for c in ordered if c.session_prefix}
        )
        self.by_address: Mapping[str, Cell] = MappingProxyType(
            {c.address.lower(): c for c in ordered}
        )
        self.serving: Mapping[int, ToCell] = MappingProxyType(
            {c.id: ToCell(c.name, c.id) for c in ordered if c.serving}
        )
        """By id, the outcome for each cell that may be sent requests."""
        self.first: Cell | None = ordered[0] if ordered else None
        """The cell with the lowest id: the answer to FIRST_CELL."""

    @cached_property
    def weighted(self) -> tuple[tuple[str, int], ...]:
        """Name and weight of each cell that takes new traffic, by id; drains are in the weights."""
        return shared_out(
            Taker(c.name, c.weight, c.share)
            for c in self.all
            if c.accepts_new or (c.takes_new and not c.share)
        )
