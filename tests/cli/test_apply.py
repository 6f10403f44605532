"""``cellway apply`` and ``diff``: what is shown is what is done, all of it or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from control_plane.cli.client import Exit
from control_plane.topology import Topology
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.claim import ClaimSpec
from tests.cli.cellway_command import Cellway
from tests.support.rest_server import RestServer
from tests.support.system import RULESETS
from tests.topology.conftest import cell_spec


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    """A topology with one cell: of each test its own, since a document is about all of it."""
    opened = Topology.open(f"sqlite:///{tmp_path}/api.db")
    opened.cells.create(cell_spec(1), actor="test")
    yield opened
    opened.close()


@pytest.fixture
def cellway(tmp_path: Path, topology: Topology) -> Iterator[Cellway]:
    with RestServer(tmp_path) as server:
        yield Cellway(server.url)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


def test_export_diff_and_apply(cellway: Cellway, topology: Topology, tmp_path: Path) -> None:
    gitlab = (RULESETS / "gitlab.json").read_text()
    topology.rulesets.put("gitlab", gitlab, actor="test")
    topology.rulesets.activate("gitlab", 1, actor="test")
    files = tmp_path / "files"
    assert cellway("export", str(files)).returncode == 0
    assert cellway("export", str(files)).returncode == Exit.CONFLICT
    same = cellway("diff", "-f", str(files), "-o", "json")
    assert (same.returncode, json.loads(same.stdout)["changed"]) == (0, [])
    edit(files / "cells" / "cell-1.yaml", weight=7)
    new = {"address": "cell-2.example.com", "endpoints": ["10.0.0.2:443"], "state": "active"}
    (files / "cells" / "cell-2.yaml").write_text(yaml.safe_dump(new))
    rules = json.loads(gitlab)
    rules["rules"].append({"id": "last", "action": "proxy", "proxy": {"cell": "cell-2"}})
    (files / "rulesets" / "gitlab.json").write_text(json.dumps(rules))
    plan = tmp_path / "plan.json"
    differs = cellway("diff", "-f", str(files), "--plan", str(plan))
    assert differs.returncode == 2, differs.stderr
    assert "weight: 100 -> 7" in differs.stdout
    assert "+ cell cell-2: create" in differs.stdout
    assert "ruleset gitlab@2: activate" in differs.stdout
    before = topology.revision()
    assert cellway("apply", "-f", str(files), "--no-input").returncode == Exit.USAGE
    assert cellway("apply", "-f", str(files), "--dry-run").returncode == 0
    assert topology.revision() == before
    # Claims and probes don't make a plan stale, a cell or a ruleset does.
    topology.claims.claim([ClaimSpec("route", "a", "cell-1")], actor="test")
    topology.cells.set_health("cell-1", healthy=False, actor="test")
    topology.cells.create(cell_spec(3), actor="somebody else")
    before = topology.revision()
    stale = cellway("apply", "--plan", str(plan), "--yes")
    assert (stale.returncode, "cell-3" in stale.stderr) == (Exit.CONFLICT, True), stale.stderr
    assert topology.revision() == before
    assert cellway("diff", "-f", str(files), "--plan", str(plan)).returncode == 2
    done = cellway("apply", "--plan", str(plan), "--yes", "--wait")
    assert done.returncode == 0, done.stderr
    assert topology.revision() == before + 1, "all of it under one revision"
    assert (topology.cells.get("cell-1").weight, topology.cells.get("cell-1").healthy) == (7, False)
    active = topology.rulesets.active()
    assert active is not None
    assert (active.version, json.loads(active.document)) == (2, rules)
    again = cellway("apply", "-f", str(files))
    assert (again.returncode, "not in the files: cell-3" in again.stderr) == (0, True)


def test_all_or_nothing_and_cells_are_pruned_only_when_asked(
    cellway: Cellway, topology: Topology, tmp_path: Path
) -> None:
    topology.cells.create(cell_spec(2), actor="test")
    one = tmp_path / "all.yaml"
    cell = {"name": "cell-1", "weight": 1}
    one.write_text(yaml.safe_dump({"cells": [cell]}))
    refused = cellway("apply", "-f", str(one), "--prune", "--yes")
    assert (refused.returncode, "retire it first" in refused.stderr) == (Exit.REFUSED, True)
    assert topology.cells.get("cell-1").weight == 100
    topology.cells.set_state("cell-2", CellState.RETIRED, actor="test", force=True, reason="test")
    assert "- cell cell-2" in cellway("diff", "-f", str(one), "--prune").stdout
    assert cellway("apply", "-f", str(one), "--prune", "--yes").returncode == 0
    assert [c.name for c in topology.cells.all()] == ["cell-1"]
    topology.sequences.allot("cell-1", 100, actor="test")
    for given, says in (
        ({"cells": [{**cell, "wieght": 2}]}, "cells.cell-1.wieght"),
        ({"cells": [cell, cell]}, "twice"),
        ({"cells": [{**cell, "sequence_ranges": []}]}, "keeps"),
        ({"cells": [{"name": "cell-9"}]}, "address"),
        ({"rulesets": {"r": {"rules": [{"id": "a", "action": "x"}]}}}, "can't work"),
        ({"active": "nothing"}, "no ruleset"),
        ({"cell": []}, "other fields"),
    ):
        one.write_text(yaml.safe_dump(given))
        wrong = cellway("apply", "-f", str(one), "--yes")
        assert wrong.returncode != 0
        assert says in wrong.stderr, (given, wrong.stderr)
        assert "Traceback" not in wrong.stderr
    assert topology.cells.get("cell-1").weight == 1


def test_what_is_no_plan_is_refused(cellway: Cellway, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text("[]")
    wrong = cellway("apply", "--plan", str(plan))
    assert (wrong.returncode, "make one with diff --plan" in wrong.stderr) == (Exit.USAGE, True)
    neither = cellway("apply")
    both = cellway("apply", "--plan", str(plan), "-f", str(plan))
    for ended in (neither, both):
        assert (ended.returncode, "give -f or --plan" in ended.stderr) == (Exit.USAGE, True)
