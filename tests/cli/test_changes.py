"""``cellway changes``: the feed from a revision on, and as it goes on."""

from __future__ import annotations

import json

import pytest

from control_plane.cli import changes
from control_plane.topology import Topology
from control_plane.topology.values.claim import ClaimSpec
from tests.cli.cellway_command import Cellway


def test_the_feed_is_shown_from_a_revision_on(
    cellway: Cellway, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MAX_PAGE", 2)
    before = topology.revision()
    for value in ("a", "b", "c"):
        topology.claims.claim([ClaimSpec("route", value, "cell-1")], actor="test")
    shown = json.loads(cellway("changes", "--since", str(before), "-o", "json").stdout)
    assert [one["key"] for one in shown] == ["route:a", "route:b", "route:c"]
    everything = json.loads(cellway("changes", "-o", "json").stdout)
    assert everything == [change.as_dict() for change in topology.changes.since(0)]
    heading, *rows = cellway("changes").stdout.splitlines()
    assert heading.split() == ["REVISION", "AT", "ACTOR", "KIND", "ACTION", "KEY"]
    assert len(rows) == len(everything)


@pytest.mark.parametrize("output", ["json", "table"])
def test_watching_goes_on_with_new_changes(
    cellway: Cellway, topology: Topology, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = topology.revision()
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt
        topology.claims.claim([ClaimSpec("route", f"{output}-1", "cell-1")], actor="test")

    monkeypatch.setattr(changes.time, "sleep", pause)
    ended = cellway("changes", "--since", str(before), "--watch", "-o", output)
    assert "Traceback" not in ended.stderr
    if output == "json":
        (line,) = ended.stdout.splitlines()
        assert json.loads(line)["key"] == "route:json-1"
    else:
        assert "route:table-1" in ended.stdout
