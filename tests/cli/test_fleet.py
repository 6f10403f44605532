"""``cellway fleet status``: what an operator has to see first."""

from __future__ import annotations

from typing import Any

from tests.cli.canned_api import CannedApi
from tests.cli.cellway_command import Cellway


def node(name: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name, "group": "edge", "state": "SYNCED", "acked_revision": 7, "version": "1.40.0",
        "outdated": "", "last_message_at": "2026-01-01T00:00:00Z", "reports_health": True,
        "types": [],
    } | more  # fmt: skip


def status(**more: Any) -> tuple[str, str]:
    answer = {"revision": 7, "alarm": None, "items": [], "cells": []} | more
    with CannedApi({"/v1/fleet": (200, answer)}).running() as api:
        ended = Cellway(api.url)("fleet", "status")
    return ended.stdout, ended.stderr


def test_a_fleet_that_is_well_is_a_table() -> None:
    stdout, stderr = status(items=[node("n-1"), node("n-2", reports_health=False)])
    heading, first, second = stdout.splitlines()
    assert heading.split()[:5] == ["NODE", "GROUP", "STATE", "REVISION", "ENVOY"]
    assert first.split() == [
        "n-1",
        "edge",
        "SYNCED",
        "7",
        "1.40.0",
        "2026-01-01T00:00:00Z",
        "yes",
        "-",
    ]
    assert second.split()[-2:] == ["no", "-"]
    assert stderr.splitlines() == ["revision 7, 2 nodes"]


def test_what_is_wrong_is_said_first() -> None:
    types = [{"type": "Listener", "error": "cannot bind"}, {"type": "Cluster", "error": ""}]
    cells = [
        {"cell": "c1", "edges_up": 1, "edges_down": 2, "healthy": 0, "total": 3},
        {"cell": "c2", "edges_up": 3, "edges_down": 0, "healthy": 1, "total": 1},
    ]
    classifier = {"edges_up": 1, "edges_down": 3, "nodes_down": ["n-2", "n-3"]}
    outdated = node("n-1", outdated="older than 1.40", types=types, state="NACKED")
    stdout, stderr = status(
        alarm="most cells are gone", items=[outdated], cells=cells, classifier=classifier
    )
    assert " ".join(stderr.split("revision 7")[0].split("OUTDATED")[0].split()) == (
        "ALARM: most cells are gone ALARM: 3 of 4 nodes that report can't reach a classifier, so "
        "look-ups fail there: n-2, n-3 and 1 more"
    )
    assert stderr.splitlines()[-3:] == [
        "OUTDATED: n-1: older than 1.40",
        "revision 7, 1 nodes",
        "c1: 2 of 3 nodes that report hold no endpoint healthy (0 of 3 endpoints are)",
    ]
    assert "1.40.0 (outdated)" in stdout
    assert "Listener: cannot bind" in stdout
    assert "Cluster" not in stdout


def test_the_edge_map_of_each_node_is_told_in_a_few_words() -> None:
    table = {
        "revision": 7, "current_table": True, "names": 12, "lag_s": 0.4, "source": "control plane"
    }  # fmt: skip
    maps = {
        "n-1": table,
        "n-2": table | {"lag_s": 61.2, "source": "its agent"},
        "n-3": table | {"current_table": False, "source": "its agent's disk"},
        "n-4": table | {"revision": 0, "names": 0, "lag_s": 3.0},
        "n-5": None,
    }
    stdout, _ = status(items=[node(name, edge_map=one) for name, one in maps.items()])
    told = [line.partition(" yes ")[2].strip() for line in stdout.splitlines()[1:]]
    assert told == [
        "7, 12 names",
        "7, 12 names, from its agent, 61 s behind",
        "7, 12 names, from its agent's disk, another table",
        "loading for 3 s",
        "-",
    ]
