"""An entry of the change feed as JSON: the members that clients read, in their order."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from control_plane.topology.values import Change

AT = datetime(2026, 11, 30, 8, 15, tzinfo=UTC)


def test_a_change_as_json() -> None:
    change = Change(9, "claim", "create", "route:acme", None, {"cell": "cell-2"}, "me", AT)
    assert json.dumps(change.as_dict()) == (
        '{"revision": 9, "kind": "claim", "action": "create", "key": "route:acme", "before": null,'
        ' "after": {"cell": "cell-2"}, "actor": "me", "at": "2026-11-30T08:15:00+00:00"}'
    )
