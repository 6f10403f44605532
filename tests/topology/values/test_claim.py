"""A claim as JSON: the members that clients read, in their order."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from control_plane.topology.values import Claim

AT = datetime(2026, 11, 30, 8, 15, tzinfo=UTC)


def test_a_claim_as_json() -> None:
    claim = Claim("route", "acme", 2, "cell-2", "s", None, 9, AT, "Acme")
    assert json.dumps(claim.as_dict()) == (
        '{"bucket": "route", "value": "acme", "spelling": "Acme", "cell": "cell-2", "cell_id": 2,'
        ' "subject": "s", "source": null, "revision": 9, "created_at": "2026-11-30T08:15:00+00:00"}'
    )
