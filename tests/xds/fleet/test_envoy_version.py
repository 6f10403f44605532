"""What is too old for the fleet, and that it shows."""

from __future__ import annotations

import pytest

from control_plane.xds.fleet.envoy_version import outdated


@pytest.mark.parametrize("version", ["1.40.0", "1.40.2", "1.41.0", "2.0.0", "0.0.0", "", "x.y.z"])
def test_what_is_new_enough_or_no_envoy_is_not_marked(version: str) -> None:
    assert outdated(version) == ""


@pytest.mark.parametrize(("version", "decides"), [
    ("1.39.9", True), ("1.39.0", True), ("1.38.12", False), ("1.9.1", False), ("0.40.0", False),
])  # fmt: skip
def test_what_is_older_is_marked_with_the_reason(version: str, decides: bool) -> None:
    why = outdated(version)
    assert why.startswith(f"Envoy {version} is older than 1.40.0: it lacks security fixes")
    assert ("may choose another cell" in why) is not decides
