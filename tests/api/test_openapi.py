"""The description of the API that is checked in is the one that is served."""

from __future__ import annotations

from pathlib import Path

from control_plane.api.openapi import description

KEPT = Path(__file__).parents[2] / "docs" / "openapi.json"


def test_the_description_that_is_checked_in_is_up_to_date() -> None:
    assert KEPT.read_text() == description(), "run `make docs`"
