"""A claim and an entry of the change feed as JSON: the members that clients read, in their order."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from control_plane.topology.values import Change, Claim

AT = datetime(2026, 11, 30, 8, 15, tzinfo=UTC)


def test_a_claim_as_json() -> None:
    claim = Claim("route", "acme", 2, "cell-2", "s", None, 9, AT, "Acme")
    assert json.dumps(claim.as_dict()) == (
        '{"bucket": "route", "value": "acme", "spelling": "Acme", "cell": "cell-2", "cell_id": 2,'
        ' "subject": "s", "source": null, "revision": 9, "created_at": "2026-11-30T08:15:00+00:00"}'
    )


def test_a_change_as_json() -> None:
    change = Change(9, "claim", "create", "route:acme", None, {"cell": "cell-2"}, "me", AT)
    assert json.dumps(change.as_dict()) == (
        '{"revision": 9, "kind": "claim", "action": "create", "key": "route:acme", "before": null,'
        ' "after": {"cell": "cell-2"}, "actor": "me", "at": "2026-11-30T08:15:00+00:00"}'
    )
