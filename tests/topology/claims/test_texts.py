"""Reasons, subjects and sources are of a length and of characters that databases keep."""

from __future__ import annotations

import pytest

from control_plane.topology.claims.texts import check_reason, check_text
from control_plane.topology.values.errors import Invalid


@pytest.mark.parametrize("reason", ["x", "x" * 1024, "  padded  "])
def test_a_reason_is_taken(reason: str) -> None:
    check_reason(reason)


@pytest.mark.parametrize("reason", ["", " \n", "x" * 1025])
def test_no_reason_and_too_long_a_reason_are_refused(reason: str) -> None:
    with pytest.raises(Invalid, match="say why, in 1 to 1024 characters"):
        check_reason(reason)


@pytest.mark.parametrize("text", ["", "x" * 160, "gruppe-ß"])
def test_a_subject_is_taken(text: str) -> None:
    check_text("subject", text)


@pytest.mark.parametrize(
    ("text", "why"), [("x" * 161, "too long"), ("a\x00", "a NUL"), ("\ud800", "lone surrogate")]
)
def test_a_source_that_no_database_keeps_is_refused(text: str, why: str) -> None:
    with pytest.raises(Invalid, match=f"source: .*{why}"):
        check_text("source", text)
