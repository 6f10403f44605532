"""Which names a response tells something new about."""

from __future__ import annotations

from control_plane.names import CDS
from control_plane.xds.resource import Resource
from control_plane.xds.session.response import Response

A, B = (Resource(CDS, name, f"{name}1", b"") for name in "ab")


def test_without_subjects_all_resources_and_removals_are_new() -> None:
    response = Response(CDS, "1", "v", (A, B), ("c",))
    assert response.names() == {"a", "b", "c"}
    assert response.versions() == {"a": "a1", "b": "b1"}


def test_what_is_repeated_for_completeness_is_not_new() -> None:
    """State of the world: a is sent again because absence would remove it, c is removed."""
    response = Response(CDS, "1", "v", (A, B), subjects=frozenset({"b", "c"}))
    assert response.names() == {"b", "c"}
    assert response.versions() == {"a": "a1", "b": "b1"}
