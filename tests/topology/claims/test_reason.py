"""An operator's reason is given, and of a length that the audit keeps."""

from __future__ import annotations

import pytest

from control_plane.topology.claims.reason import check_reason
from control_plane.topology.values.errors import Invalid


@pytest.mark.parametrize("reason", ["x", "x" * 1024, "  padded  "])
def test_a_reason_is_taken(reason: str) -> None:
    check_reason(reason)


@pytest.mark.parametrize("reason", ["", " \n", "x" * 1025])
def test_no_reason_and_too_long_a_reason_are_refused(reason: str) -> None:
    with pytest.raises(Invalid, match="say why, in 1 to 1024 characters"):
        check_reason(reason)
