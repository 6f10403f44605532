"""Cells for routing tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from control_plane.routing.model import Cells, ClaimKey


@dataclass(frozen=True, slots=True)
class FakeCell:
    """A value with the attributes that routing needs of a cell."""

    id: int
    serving: bool = True
    accepts_new: bool = True
    weight: int = 100
    prefix: str | None = None
    """The session prefix, if it differs from the name."""
    retired: bool = False
    takes_new: bool = True
    share: int = 100

    @property
    def name(self) -> str:
        return f"cell-{self.id}"

    @property
    def address(self) -> str:
        return f"cell-{self.id}.example.com"

    @property
    def session_prefix(self) -> str:
        return self.prefix or f"cell-{self.id}"


def cells(*some: FakeCell) -> Cells:
    return Cells(some or (FakeCell(1), FakeCell(2), FakeCell(3)))


def owners(claims: Mapping[str, int]) -> Callable[[tuple[ClaimKey, ...]], Sequence[int | None]]:
    """Return a look-up in a mapping of ``bucket:value`` to cell id."""
    return lambda keys: [claims.get(f"{bucket}:{value}") for bucket, value in keys]
