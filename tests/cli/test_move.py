"""``cellway move``: a tenant changes its cell from the command line."""

from __future__ import annotations

import json

import pytest

from control_plane.cli.client import Exit
from tests.cli.cellway_command import Cellway

PLAN = ("move", "plan", "--from", "cell-1", "--to", "cell-2", "--reason", "ticket 7")


def test_a_tenant_claimed_by_the_command_line_moves(cellway: Cellway) -> None:
    cellway("claims", "claim", "cell-1", "route:foo", "--subject", "acme")
    cellway("claims", "claim", "cell-1", "username:bob")
    assert cellway("claims", "subject", "acme", "username:bob").returncode == 0
    planned = cellway(*PLAN, "--subject", "acme", "--allow", "POST ^/login", "--no-verification")
    assert "planned, 2 claims" in planned.stderr
    next_step = planned.stderr.rpartition("next: ")[2].split()
    number = next_step[-1]
    assert next_step == ["cellway", "move", "preflight", number]
    assert cellway("move", "preflight", number).returncode == 0
    unasked = cellway("move", "freeze", number)
    assert (unasked.returncode, "needs --yes" in unasked.stderr) == (Exit.USAGE, True)
    assert cellway("move", "freeze", number, "--yes", "--wait").returncode == 0
    switched = cellway("move", "switch", number, "--yes", "--wait", "-o", "json")
    assert json.loads(switched.stdout)["move"]["state"] == "watching"
    assert "cell-2" in cellway("claims", "get", "username:bob").stdout
    back = cellway("move", "rollback", number, "--yes", "--reason", "it was slow")
    assert "rolled-back, 2 claims" in back.stderr
    assert "cell-1" in cellway("claims", "get", "route:foo").stdout
    assert "rolled-back" in cellway("move", "list").stdout
    assert "state: rolled-back" in cellway("move", "status", number).stdout
    assert "it was slow" in cellway("move", "certificate", number, "--markdown").stdout
    assert "not_known" in cellway("move", "certificate", number).stdout


def test_what_a_move_can_not_do_ends_with_its_own_status(cellway: Cellway) -> None:
    cellway("claims", "claim", "cell-1", "route:bar")
    assert cellway("move", "status", "999").returncode == Exit.NOT_FOUND
    planned = cellway(*PLAN, "--claim", "route:bar", "-o", "json")
    number = str(json.loads(planned.stdout)["move"]["id"])
    early = cellway("move", "switch", number, "--yes")
    assert early.returncode == Exit.REFUSED
    assert "it is planned, not frozen" in early.stderr
    stale = cellway("move", "freeze", number, "--yes", "--if-match", '"1"')
    assert stale.returncode == Exit.CONFLICT


@pytest.mark.parametrize(
    "wrong",
    [
        ("--allow", " "),
        ("--test-user", "tester=yes"),
        ("--freeze-for", "soon"),
        ("--claim", "foo"),
    ],
)
def test_a_malformed_option_is_refused(cellway: Cellway, wrong: tuple[str, str]) -> None:
    refused = cellway(*PLAN, "--batch", "1", *wrong)
    assert (refused.returncode, wrong[0] in refused.stderr or wrong[1] in refused.stderr) == (
        Exit.USAGE,
        True,
    )
