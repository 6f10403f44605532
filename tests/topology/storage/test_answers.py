"""Answers are remembered by their idempotency keys."""

from __future__ import annotations

from control_plane.topology import Topology
from control_plane.topology.storage.idempotency import Once, Remembered


def test_answers_are_remembered_by_key(two: Topology) -> None:
    answer = Remembered("f", 201, "[]", "{}")
    assert two.idempotency.recall("k") is None
    assert two.idempotency.remember(Once("k", "f"), answer)
    assert two.idempotency.recall("k") == answer
    assert not two.idempotency.remember(Once("k", "f"), Remembered("f", 409, "[]", "{}"))
    assert two.idempotency.recall("k") == answer, "who came first answers"
    assert two.revision() == 2
