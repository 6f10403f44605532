"""Operations are recorded, one of a kind and a target at a time."""

from __future__ import annotations

import pytest

from control_plane.topology import OperationState, Topology
from control_plane.topology.values.errors import (
    Refused,
)

ME = "operator"


def test_operations_are_listed_newest_first(two: Topology) -> None:
    before = two.revision()
    begun = [two.operations.start("k", f"t{n}", None, actor=ME) for n in range(5)]
    with pytest.raises(Refused):
        two.operations.start("k", "t1", None, actor=ME)
    two.operations.note(begun[1].id, 7, OperationState.FAILED, "x" * 5000)
    ended = two.operations.get(begun[1].id)
    assert (ended.done, ended.state, len(ended.detail)) == (7, "failed", 1000)
    two.operations.start("k", "t1", None, actor=ME)
    seen: list[str] = []
    after = None
    while page := two.operations.page(before=after, limit=2):
        seen += [one.id for one in page]
        after = (page[-1].started_at, page[-1].id)
    assert seen[1:] == [one.id for one in reversed(begun)]
    assert two.revision() == before, "they are no changes"
