"""``cellway claims import``: what can't be claimed is reported, and what broke off goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from control_plane.cli import import_pieces
from control_plane.cli.client import Exit
from control_plane.topology import Topology
from tests.cli.cellway_command import Cellway
from tests.cli.conftest import Rest

IMPORT = ("claims", "import")


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_pieces, "PIECE_LINES", 50)


def line(value: str, cell: str = "cell-1") -> str:
    return json.dumps({"bucket": "route", "value": value, "cell": cell})


def count(topology: Topology) -> int:
    return topology.claims.count().get("route", 0)


def test_lines_that_can_t_be_claimed_are_reported_and_all_others_are_claimed(
    cellway: Cellway, topology: Topology, tmp_path: Path
) -> None:
    file, rejects = tmp_path / "in.ndjson", tmp_path / "rejects"
    lines = [line(f"r{n:05}") for n in range(120)]
    lines[5] = line("x", "nowhere")
    lines[71] = "{broken"
    data = ("\n".join(lines)).encode() + b"\n\xff\xfe\n" + b"x" * 200_000 + b"\n"
    file.write_bytes(data + line("last").encode())
    before = count(topology)
    dry = cellway(*IMPORT, str(file), "--dry-run", "-o", "json")
    assert json.loads(dry.stdout) == {
        "lines": 123, "created": 119, "present": 0, "rejected": 4, "dry_run": True,
    }  # fmt: skip
    assert count(topology) == before
    done = cellway(*IMPORT, str(file), "--rejects", str(rejects), "-o", "json")
    assert (done.returncode, f"not taken; see {rejects}" in done.stderr) == (Exit.ERROR, True)
    assert json.loads(done.stdout) == {"lines": 123, "created": 119, "present": 0, "rejected": 4}
    assert "\x1b" not in done.stderr, "no progress bar where there is no terminal"
    reasons = [json.loads(one) for one in rejects.read_text().splitlines()]
    assert [one["line"] for one in reasons] == [6, 72, 121, 122]
    assert "nowhere" in reasons[0]["reason"]
    assert not list(tmp_path.glob("*.import-progress"))
    assert count(topology) == before + 119
    again = cellway(*IMPORT, str(file))
    assert "line 6: " in again.stderr


def test_an_import_that_broke_off_goes_on_where_it_was(
    cellway: Cellway, topology: Topology, tmp_path: Path
) -> None:
    file, notes = tmp_path / "in.ndjson", tmp_path / "in.ndjson.import-progress"
    file.write_text("\n".join(line(f"again-{n}") for n in range(80)))
    nothing = cellway(*IMPORT, str(file), "--resume")
    assert nothing.returncode == Exit.NOT_FOUND
    # As it is after the first piece.
    offset = sum(len(line(f"again-{n}")) + 1 for n in range(50))
    done = {"offset": offset, "lines": 50, "created": 50, "present": 0, "rejected": 0}
    notes.write_text(json.dumps(done))
    before = count(topology)
    resumed = cellway(*IMPORT, str(file), "--resume", "-o", "json")
    assert json.loads(resumed.stdout)["lines"] == 80
    assert count(topology) == before + 30
    whole = json.loads(cellway(*IMPORT, str(file), "-o", "json").stdout)
    assert (whole["created"], whole["present"]) == (50, 30)
    notes.write_text("{}x")
    broken = cellway(*IMPORT, str(file), "--resume")
    assert (broken.returncode, "is not what import writes" in broken.stderr) == (Exit.USAGE, True)


def test_a_server_that_is_away_says_how_to_go_on(
    tmp_path: Path,
) -> None:
    file = tmp_path / "in.ndjson"
    file.write_text("\n".join(line(f"away-{n}") for n in range(80)))
    away = Cellway("http://127.0.0.1:1")(*IMPORT, str(file))
    assert (away.returncode, "go on with --resume" in away.stderr) == (Exit.ERROR, True)
    assert "up to line 0 all is done" in away.stderr


def test_lines_go_straight_into_a_database(rest: Rest, tmp_path: Path) -> None:
    file = tmp_path / "in.ndjson"
    file.write_text("\n".join([line(f"straight-{n}") for n in range(60)] + [line("x", "nowhere")]))
    into = (*IMPORT, str(file), "--database-url")
    done = rest.cellway(*into, rest.database_url, "-o", "json")
    assert json.loads(done.stdout) == {"lines": 61, "created": 60, "present": 0, "rejected": 1}
    assert "line 61: " in done.stderr
    missing = rest.cellway(*into, f"sqlite:///{tmp_path}/none.db")
    assert (missing.returncode, "db migrate" in missing.stderr) == (Exit.ERROR, True)


def test_lines_come_from_stdin(cellway: Cellway) -> None:
    assert cellway(*IMPORT, "-", "--resume").returncode == Exit.USAGE
    assert cellway(*IMPORT, "no-such-file").returncode == Exit.USAGE
    done = cellway(*IMPORT, "-", "-o", "json", stdin=line("from-stdin"))
    assert json.loads(done.stdout)["created"] == 1
