"""``cellway cells sequences``: ranges are allotted, their use is reported and alarming."""

from __future__ import annotations

import json

from control_plane.cli.client import Exit
from tests.cli.canned_api import CannedApi
from tests.cli.cellway_command import Cellway

SEQUENCES = ("cells", "sequences")


def test_ids_are_allotted_and_run_out(cellway: Cellway) -> None:
    dry = cellway(*SEQUENCES, "allot", "cell-1", "--size", "100", "-n")
    assert "would allot 1..100 to cell-1" in dry.stderr
    allotted = cellway(*SEQUENCES, "allot", "cell-1", "--size", "100", "-o", "json")
    assert json.loads(allotted.stdout)["range"] == {"minval": 1, "maxval": 100}
    assert cellway(*SEQUENCES, "report", "cell-1", "95").returncode == 0
    listed = cellway(*SEQUENCES, "list")
    (row,) = [line for line in listed.stdout.splitlines() if line.startswith("cell-1")]
    assert row.split() == ["cell-1", "100", "95", "95.0%", "ALLOT", "MORE"]
    shown = json.loads(cellway(*SEQUENCES, "show", "cell-1", "-o", "json").stdout)
    assert (shown["used"], shown["alarming"]) == (95, True)
    stale = cellway(*SEQUENCES, "allot", "cell-1", "--if-match", '"1"')
    assert stale.returncode == Exit.CONFLICT


def test_a_mark_file_is_only_taken_as_true_after_a_restore(cellway: Cellway) -> None:
    asked = cellway(*SEQUENCES, "confirm")
    assert (asked.returncode, "--yes" in asked.stderr) == (Exit.USAGE, True)
    assert cellway(*SEQUENCES, "confirm", "--yes").returncode == Exit.REFUSED


def test_a_restored_database_is_an_alarm_that_says_what_to_do() -> None:
    answer = {"mark": {"restored": True}, "items": []}
    with CannedApi({"/v1/sequences": (200, answer)}).running() as api:
        listed = Cellway(api.url)(*SEQUENCES, "list")
    assert "ALARM" in listed.stderr
    assert "run cellway cells sequences confirm" in listed.stderr
