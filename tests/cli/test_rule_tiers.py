"""``cellway rules tiers`` and the warnings of ``cellway rules lint`` about slow rules."""

from __future__ import annotations

import json
from pathlib import Path

from control_plane.cli.client import Exit
from tests.cli.cellway_command import Cellway

NOWHERE = Cellway("http://127.0.0.1:1")
SLOW = {
    "name": "slow",
    "defaults": {"on_cell_down": 503},
    "rules": [
        {
            "id": "slow",
            "match": {"type": "path", "regexValue": "^/[[:alpha:]]+$"},
            "action": "proxy",
            "proxy": {"cell": "cell-1"},
        },
        {"id": "all", "action": "proxy"},
    ],
}


def test_the_tiers_of_a_shipped_ruleset_are_shown_without_a_server() -> None:
    shown = NOWHERE("rules", "tiers", "gitlab", "-o", "json")
    assert shown.returncode == 0, shown.stderr
    tiers = {one["rule"]: one for one in json.loads(shown.stdout)}
    assert tiers["route"]["with_module"] == "edge-map"
    assert tiers["session"]["without_module"] == "native"
    assert all(one["hindrance"] is None for one in tiers.values())


def test_a_slow_rule_is_told_with_its_rewrite(tmp_path: Path) -> None:
    file = tmp_path / "slow.json"
    file.write_text(json.dumps(SLOW))
    table = NOWHERE("rules", "tiers", str(file))
    assert "write the characters: [A-Za-z] for [[:alpha:]]" in table.stdout
    linted = NOWHERE("rules", "lint", str(file), "-o", "json")
    assert (linted.returncode, "1 warnings" in linted.stderr) == (0, True)
    (finding,) = json.loads(linted.stdout)
    assert (finding["severity"], finding["rule"]) == ("warning", "slow")
    assert finding["message"].startswith("the module can't answer it: its regex is not one")


def test_a_ruleset_that_can_t_work_has_no_tiers(tmp_path: Path) -> None:
    file = tmp_path / "broken.json"
    file.write_text('{"rules": []}')
    shown = NOWHERE("rules", "tiers", str(file))
    assert shown.returncode == Exit.ERROR
    assert "there are no rules" in shown.stderr
    assert "can't work" in shown.stderr
    assert "Traceback" not in shown.stderr
