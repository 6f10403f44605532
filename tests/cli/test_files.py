"""``apply``, ``diff`` and ``export``, and claims in and out, against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from control_plane.cli import bulk
from control_plane.cli.client import Exit
from control_plane.topology import Topology
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.claim import ClaimSpec
from tests.cli.cellway_command import Cellway
from tests.support.rest_server import serving
from tests.support.system import RULESETS
from tests.topology.conftest import cell_spec


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    opened = Topology.open(f"sqlite:///{tmp_path}/api.db")
    opened.cells.create(cell_spec(1), actor="test")
    yield opened
    opened.close()


@pytest.fixture
def cellway(tmp_path: Path, topology: Topology) -> Iterator[Cellway]:
    with serving(tmp_path) as client:
        yield Cellway(str(client.base_url))


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
    topology.cells.set_state("cell-2", CellState.RETIRED, actor="test", force=True)
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


def line(value: str, cell: str = "cell-1") -> str:
    return json.dumps({"bucket": "route", "value": value, "cell": cell})


def test_claims_in_and_out(cellway: Cellway, topology: Topology, tmp_path: Path) -> None:
    file, rejects, out = (tmp_path / name for name in ("in.ndjson", "rejects", "out.ndjson"))
    lines = [line(f"r{n:05}") for n in range(12_000)]
    lines[5] = line("x", "nowhere")
    lines[7001] = "{broken"
    data = ("\n".join(lines)).encode() + b"\n\xff\xfe\n" + b"x" * 200_000 + b"\n"
    file.write_bytes(data + line("last").encode())
    told = cellway("claims", "import", str(file), "--dry-run", "-o", "json")
    assert (json.loads(told.stdout)["created"], topology.claims.count()) == (11_999, {})
    done = cellway("claims", "import", str(file), "--rejects", str(rejects), "-o", "json")
    assert done.returncode == Exit.ERROR
    assert json.loads(done.stdout) == {
        "lines": 12_003, "created": 11_999, "present": 0, "rejected": 4,
    }  # fmt: skip
    assert "\x1b" not in done.stderr, "no progress bar where there is no terminal"
    told_why = [json.loads(one) for one in rejects.read_text().splitlines()]
    assert [one["line"] for one in told_why] == [6, 7002, 12_001, 12_002]
    assert "nowhere" in told_why[0]["reason"]
    assert not list(tmp_path.glob("*.import-progress"))
    assert cellway("claims", "export", str(out)).returncode == 0
    exported = out.read_text()
    assert [json.loads(one)["value"] for one in exported.splitlines()] == sorted(
        ["last", *(f"r{n:05}" for n in range(12_000) if n not in {5, 7001})]
    )
    assert cellway("claims", "export", str(out)).returncode == Exit.CONFLICT
    out.write_text(exported[: len(exported) // 2])
    assert cellway("claims", "export", str(out), "--resume").returncode == 0
    assert out.read_text() == exported
    assert cellway("claims", "export").stdout == exported


def test_an_import_that_broke_off_goes_on_where_it_was(
    cellway: Cellway, topology: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "in.ndjson"
    file.write_text("\n".join(line(f"r{n}") for n in range(6_000)))
    assert cellway("claims", "import", str(file), "--resume").returncode == Exit.NOT_FOUND
    # As it is after the first piece.
    offset = sum(len(line(f"r{n}")) + 1 for n in range(5_000))
    notes = {"offset": offset, "lines": 5_000, "created": 5_000, "present": 0, "rejected": 0}
    (tmp_path / "in.ndjson.import-progress").write_text(json.dumps(notes))
    done = cellway("claims", "import", str(file), "--resume", "-o", "json")
    assert json.loads(done.stdout)["lines"] == 6_000
    assert topology.claims.count() == {"route": 1_000}
    whole = cellway("claims", "import", str(file), "-o", "json")
    counts = json.loads(whole.stdout)
    assert (counts["created"], counts["present"]) == (5_000, 1_000)
    straight = cellway(
        "claims",
        "import",
        str(file),
        "--database-url",
        f"sqlite:///{tmp_path}/api.db",
        "-o",
        "json",
    )
    assert json.loads(straight.stdout)["present"] == 6_000, straight.stderr
    nowhere = f"sqlite:///{tmp_path}/none.db"
    missing = cellway("claims", "import", str(file), "--database-url", nowhere)
    assert (missing.returncode, "db migrate" in missing.stderr) == (Exit.ERROR, True)
    away = Cellway("http://127.0.0.1:1")("claims", "import", str(file))
    assert (away.returncode, "--resume" in away.stderr) == (Exit.ERROR, True)


def test_pieces_stay_within_what_one_request_may_have(tmp_path: Path) -> None:
    file = tmp_path / "in"
    file.write_bytes(b"\n".join([b"x" * 60_000] * 60 + [b"y"] * 6_000))
    with file.open("rb") as source:
        pieces = list(bulk._pieces(source, 10))
    assert [piece.first for piece in pieces] == [11, 35, 59, 5_059]
    assert sum(piece.size for piece in pieces) == file.stat().st_size
    assert all(piece.size <= bulk.PIECE_BYTES for piece in pieces)


def test_the_database_is_backed_up_and_restored(tmp_path: Path, topology: Topology) -> None:
    cellway = Cellway("http://127.0.0.1:1")
    url = ("--database-url", f"sqlite:///{tmp_path}/api.db")
    backup = tmp_path / "backup.db"
    made = cellway("db", "backup", str(backup), *url, "-o", "json")
    assert json.loads(made.stdout)["revision"] == topology.revision()
    assert cellway("db", "backup", str(backup), *url).returncode == Exit.CONFLICT
    topology.claims.claim([ClaimSpec("route", "later", "cell-1")], actor="test")
    later = topology.revision()
    in_use = cellway("db", "restore", str(backup), *url, "--yes")
    assert in_use.returncode == Exit.REFUSED, in_use.stderr
    topology.close()
    assert cellway("db", "restore", str(tmp_path / "no"), *url, "--yes").returncode == 3
    done = cellway("db", "restore", str(backup), *url, "--yes", "-o", "json")
    assert json.loads(done.stdout)["revision"] > later, done.stderr
    restored = Topology.open(url[1])
    assert restored.claims.count() == {}
    restored.close()
    postgresql = "postgresql://u:secret@127.0.0.1:1/x"
    wrong = cellway("db", "restore", str(backup), "--database-url", postgresql, "--no-input")
    assert "secret" not in wrong.stderr
    wrong = cellway("db", "backup", str(tmp_path / "pg"), "--database-url", postgresql)
    assert (wrong.returncode, "pg_dump" in wrong.stderr) == (Exit.ERROR, True)
