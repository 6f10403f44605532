"""What the claims protocol writes to the change feed, before its revision is known."""

from __future__ import annotations

import json

from control_plane.names import MAX_REASON_CHARS
from control_plane.topology.claims import lease_log
from control_plane.topology.claims.update import check_update
from control_plane.topology.values.claim import RecordSpec

LEASE = "a lease"


def route(name: str, subject: int = 0) -> RecordSpec:
    return RecordSpec("route", name, 3 if subject else 0, subject)


def test_a_begin_says_what_it_creates_destroys_and_replaces() -> None:
    update = check_update([route("New"), route("both", 7)], [route("old"), route("both")])
    lease, *claims = lease_log.begun(LEASE, 1, update)
    assert (lease.kind, lease.action, lease.key) == ("lease", "begin", LEASE)
    assert lease.after == {"cell_id": 1, "creates": 1, "destroys": 2}
    told = {entry.key: (entry.action, entry.after) for entry in claims}
    assert {key: action for key, (action, _) in told.items()} == {
        "route:new": "create",
        "route:old": "destroy",
        "route:both": "replace",
    }
    assert told["route:old"][1] == {"cell_id": 1, "lease": LEASE}
    assert told["route:new"][1]["spelling"] == "New"
    assert told["route:both"][1].get("spelling") is None
    assert told["route:both"][1]["subject_id"] == 7


def test_an_outcome_keeps_as_much_of_a_reason_as_the_audit_holds() -> None:
    entry = lease_log.settled(LEASE, 1, "rolled back", "x" * 2 * MAX_REASON_CHARS)
    assert (entry.action, len(entry.after["reason"])) == ("rollback", MAX_REASON_CHARS)
    assert lease_log.settled(LEASE, 1, "committed", None).after == {
        "cell_id": 1,
        "state": "committed",
    }


def test_entries_are_numbered_on_through_all_statements() -> None:
    names = [f"r{number}" for number in range(150)]
    entries = lease_log.begun(LEASE, 1, check_update([route(name) for name in names], []))
    statements = lease_log.append(entries, "me", first=3)
    assert len(statements) == 2
    params = [value for one in statements for value in one.params]
    assert params[0::7] == list(range(3, 3 + 151))
    assert json.loads(params[5]) == {"cell_id": 1, "creates": 150, "destroys": 0}
