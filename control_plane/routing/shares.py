"""Shares out traffic that is free to go anywhere among cells, some of which a drain has reduced.

A cell's *usual* part is its weight among all weights. A drain leaves it a percentage of that part,
its share; the rest goes to the cells that no drain reduces, by their weights. So a share of 99
takes one percent of its usual requests off a cell, whatever the other weights are. For example,
with equal weights and a share of 40 for the first of three cells::

    usual 33.3 %, 33.3 %, 33.3 %   →   13.3 %, 43.3 %, 43.3 %
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

FULL = 100
"""The share of a cell that no drain reduces, in percent."""
SCALE = 1_000_000
"""The sum of the weights that are made where a drain reduces a cell. Envoy's limit is 2^32 - 1."""


class Taker(NamedTuple):
    """A cell that takes free traffic: its weight, and its share in percent."""

    name: str
    weight: int
    share: int


def shared_out(takers: Iterable[Taker]) -> tuple[tuple[str, int], ...]:
    """Return name and weight of each cell that gets requests, in the order of the takers."""
    some = [one for one in takers if one.weight > 0]
    if all(one.share == FULL for one in some):
        return tuple((one.name, one.weight) for one in some)
    full = sum(one.weight for one in some if one.share == FULL)
    if not full:
        return tuple((one.name, one.weight * one.share) for one in some if one.share > 0)
    total = sum(one.weight for one in some)
    reduced = sum(one.weight * one.share for one in some if one.share != FULL) / FULL
    rest = (total - reduced) / full
    parts = [
        (one.name, one.weight * (rest if one.share == FULL else one.share / FULL))
        for one in some
        if one.share > 0
    ]
    return tuple((name, max(1, round(part * SCALE / total))) for name, part in parts)
