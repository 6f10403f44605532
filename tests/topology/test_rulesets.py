"""Rulesets: every version is kept, and one is active."""

from __future__ import annotations

import pytest

from control_plane.topology import Topology
from control_plane.topology.values.errors import (
    NotFound,
    StaleVersion,
)

ME = "tester"


def test_rulesets_keep_every_version_and_one_is_active(two: Topology) -> None:
    for number in (1, 2):
        assert two.rulesets.put("r", f"{{{number}}}", actor=ME).value.version == number
    again = two.rulesets.put("r", "{2}", actor=ME)
    assert (again.value.version, again.changes) == (2, ())
    assert two.rulesets.active() is None
    two.rulesets.activate("r", 1, actor=ME)
    two.rulesets.activate("r", 2, actor=ME, expected_active=("r", 1))
    with pytest.raises(StaleVersion):
        two.rulesets.activate("r", 1, actor=ME, expected_active=("r", 1))
    with pytest.raises(StaleVersion):
        two.rulesets.put("r", "{3}", actor=ME, expected_version=1)
    with pytest.raises(NotFound):
        two.rulesets.activate("r", 9, actor=ME)
    active = two.rulesets.active()
    assert active is not None
    assert (active.version, active.document) == (2, "{2}")
    assert [r.active for r in two.rulesets.versions()] == [False, True]
