"""What an update must be like before any database sees it."""

from __future__ import annotations

import pytest

from control_plane.topology.claims.update import check_key
from control_plane.topology.values.errors import Invalid

LONGEST = 255
"""As docs/topology.md says; REST and gRPC refuse longer ones too."""


@pytest.mark.parametrize("key", [None, "k", "k" * LONGEST])
def test_an_idempotency_key_as_documented_is_taken(key: str | None) -> None:
    check_key(key)


@pytest.mark.parametrize("key", ["", "k" * (LONGEST + 1), "a\nb"])
def test_any_other_idempotency_key_is_refused(key: str) -> None:
    with pytest.raises(Invalid, match="1 to 255 printable characters"):
        check_key(key)
