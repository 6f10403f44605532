"""``cellway audit``: who did what, as far back as it is kept."""

from __future__ import annotations

import json

from control_plane.cli.client import Exit
from control_plane.topology import Topology
from control_plane.topology.values.claim import ClaimSpec
from tests.cli.cellway_command import Cellway


def test_the_audit_is_filtered(cellway: Cellway, topology: Topology) -> None:
    topology.claims.claim([ClaimSpec("route", "audited", "cell-1")], actor="alice")
    of_claim = json.loads(cellway("audit", "route:AUDITED", "-o", "json").stdout)
    assert [(one["action"], one["actor"]) for one in of_claim] == [("create", "alice")]
    by_alice = json.loads(cellway("audit", "--actor", "alice", "-o", "json").stdout)
    assert by_alice == of_claim
    kinds = {one["kind"] for one in json.loads(cellway("audit", "--kind", "cell", "-ojson").stdout)}
    assert kinds == {"cell"}
    some = cellway("audit", "--limit", "1")
    assert "raise --limit (now 1)" in some.stderr


def test_what_is_no_key_is_a_usage_error(cellway: Cellway) -> None:
    ended = cellway("audit", "nonsense")
    assert (ended.returncode, "bucket:value" in ended.stderr) == (Exit.USAGE, True)
