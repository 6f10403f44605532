"""``cellway simulate``: recorded traffic against a proposed ruleset, with a server and without."""

from __future__ import annotations

import gzip
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from control_plane.cli import simulate
from control_plane.cli.client import DIFFERENT, Exit
from tests.cli.cellway_command import Cellway
from tests.cli.conftest import Rest

ACTIVE: dict[str, Any] = {
    "name": "paths",
    "rules": [
        {
            "id": "tenant",
            "match": {"type": "path", "regexValue": "^/t/(?<t>[^/]+)"},
            "action": "classify",
            "classify": {"claims": [{"tenant": "${t}"}]},
            "on_unknown": {"status": 404},
        },
        {
            "id": "rest",
            "match": {"type": "path", "regexValue": "^/"},
            "action": "proxy",
            "proxy": {"cell": "cell-1"},
        },
    ],
}
LOG = "".join(
    json.dumps({"method": "GET", "path": path, "authority": "h.example"}) + "\n"
    for path in ["/t/acme/a", "/t/acme/b?x=1", "/t/globex", "/t/nobody", "/static/x", "/static/y"]
)


def proposed(**rest: Any) -> dict[str, Any]:
    """Return the active ruleset with another last rule."""
    return {"name": "paths", "rules": [ACTIVE["rules"][0], {**ACTIVE["rules"][1], **rest}]}


@pytest.fixture(scope="module")
def files(rest: Rest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a log and rulesets; the server has the active one."""
    path = tmp_path_factory.mktemp("simulate")
    documents = {
        "active": ACTIVE,
        "moved": proposed(proxy={"cell": "cell-2"}),
        "renamed": proposed(id="other"),
    }
    for name, document in documents.items():
        (path / f"{name}.json").write_text(json.dumps(document))
    (path / "access.log").write_text(LOG)
    cellway = rest.cellway
    assert cellway("rules", "apply", str(path / "active.json")).returncode == 0
    assert cellway("claims", "claim", "cell-1", "tenant:acme").returncode == 0
    assert cellway("claims", "claim", "cell-2", "tenant:globex").returncode == 0
    assert cellway("export", str(path / "export")).returncode == 0
    assert cellway("claims", "export", str(path / "claims.ndjson")).returncode == 0
    return path


def test_what_would_go_elsewhere_is_told_by_cells_and_rules(cellway: Cellway, files: Path) -> None:
    log, rules = str(files / "access.log"), str(files / "moved.json")
    ended = cellway("simulate", log, "--rules", rules, "-o", "json")
    report = json.loads(ended.stdout)
    assert ended.returncode == DIFFERENT
    assert (report["requests"], report["different"], report["revision"] > 0) == (6, 2, True)
    first = report["groups"][0]
    assert (first["count"], first["from"], first["to"]) == (
        2,
        {"rule": "rest", "cell": "cell-1"},
        {"rule": "rest", "cell": "cell-2"},
    )
    assert [one["path"] for one in first["examples"]] == ["/static/x", "/static/y"]
    assert {(one["to"].get("cell"), one["count"]) for one in report["groups"][1:]} == {
        ("cell-1", 2),
        ("cell-2", 1),
        (None, 1),
    }
    table = cellway("simulate", log, "--rules", rules)
    assert table.stdout.splitlines()[1].split() == [
        *("2", "cell-1", "cell-2", "rest", "rest", "GET", "h.example/static/x")
    ]
    assert "6 requests: 2 would go elsewhere" in table.stderr


def test_another_rule_to_the_same_place_is_no_difference(cellway: Cellway, files: Path) -> None:
    log, rules = str(files / "access.log"), str(files / "renamed.json")
    ended = cellway("simulate", log, "--rules", rules)
    assert (ended.returncode, ended.stdout) == (Exit.OK, "")
    assert "0 would go elsewhere, 2 to the same place by another rule" in ended.stderr


def test_without_a_proposal_it_shows_where_requests_go(cellway: Cellway, files: Path) -> None:
    ended = cellway("simulate", str(files / "access.log"))
    assert ended.returncode == Exit.OK
    assert ended.stdout.splitlines()[0].split() == ["REQUESTS", "TO", "RULE", "EXAMPLE"]
    assert [line.split()[:3] for line in ended.stdout.splitlines()[1:]][-1][0] == "1"


@pytest.mark.parametrize("source", ["file", "stdin", "gzip"])
def test_offline_it_says_the_same_as_with_the_server(
    cellway: Cellway, files: Path, source: str
) -> None:
    (files / "access.log.gz").write_bytes(gzip.compress(LOG.encode()))
    log = {"stdin": "-", "gzip": str(files / "access.log.gz")}.get(
        source, str(files / "access.log")
    )
    rules = ("--rules", str(files / "moved.json"), "-o", "json")
    offline = ("--topology", str(files / "export"), "--claims", str(files / "claims.ndjson"))
    nobody = Cellway("http://127.0.0.1:1")
    ended = nobody("simulate", log, *rules, *offline, stdin=LOG)
    served = json.loads(cellway("simulate", log, *rules, stdin=LOG).stdout)
    assert ended.returncode == DIFFERENT
    assert json.loads(ended.stdout)["groups"] == served["groups"]


def test_proposed_cells_are_compared_too(cellway: Cellway, files: Path, tmp_path: Path) -> None:
    cells = cellway("cells", "list", "-o", "json")
    documents = [
        {**one, "state": "drained"} if one["name"] == "cell-1" else one
        for one in json.loads(cells.stdout)
    ]
    (tmp_path / "cells.json").write_text(json.dumps({"cells": documents}))
    log, proposal = str(files / "access.log"), str(tmp_path / "cells.json")
    ended = cellway("simulate", log, "--proposed-topology", proposal, "-o", "json")
    moved = [one for one in json.loads(ended.stdout)["groups"] if one["different"]]
    assert sum(one["count"] for one in moved) == 4
    assert {one["to"]["status"] for one in moved} == {503}


def test_lines_that_cannot_be_read_are_told_with_their_numbers(
    cellway: Cellway, files: Path
) -> None:
    broken = ("--format", "envoy-json", "--rules", str(files / "renamed.json"))
    ended = cellway("simulate", "-", *broken, stdin=LOG + "nonsense\n[]\n")
    assert ended.returncode == Exit.OK
    assert "2 lines can't be read, and don't count\n  line 7: it is not JSON" in ended.stderr
    nothing = cellway("simulate", "-", *broken, stdin="nonsense\n")
    assert (nothing.returncode, nothing.stdout.count("Traceback")) == (Exit.USAGE, 0)
    assert "no line of - can be read\n  line 1: it is not JSON" in nothing.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--claims", "{claims}"], "--claims is for --topology"),
        (["--topology", "{export}"], "the rules look claims up: give --claims FILE"),
        (["--topology", "{active}"], "other fields than active, cells, rulesets"),
        (["--topology", "{export}", "--claims", "{active}"], "line 1: "),
        (["--rules", "{export}"], "is a folder"),
        (["--rules", "{claims}"], "can't work"),
        (["--proposed-topology", "{empty}"], "has no list of cells"),
        (["--format", "har"], "can't be read: after 0 lines: it has no entries"),
    ],
)
def test_wrong_input_is_told(
    cellway: Cellway, files: Path, arguments: list[str], says: str
) -> None:
    (files / "empty.json").write_text('{"active": "x"}')
    names = {
        "{claims}": "claims.ndjson",
        "{export}": "export",
        "{active}": "active.json",
        "{empty}": "empty.json",
    }
    given = [str(files / names[one]) if one in names else one for one in arguments]
    ended = cellway("simulate", str(files / "access.log"), *given)
    assert ended.returncode in {Exit.USAGE, Exit.ERROR}
    assert says in ended.stderr
    assert ended.stdout == ""


def test_a_terminal_sees_a_progress_bar(files: Path) -> None:
    command = [sys.executable, "-m", "control_plane.cli.main", "simulate"]
    command += [str(files / "access.log"), "--rules", str(files / "moved.json")]
    command += ["--topology", str(files / "export"), "--claims", str(files / "claims.ndjson")]
    ours, theirs = pty.openpty()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, check=False, timeout=60)
    os.close(theirs)
    said = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert done.returncode == DIFFERENT
    assert "simulate: 6 lines" in said


def test_many_groups_are_not_all_in_the_table(
    cellway: Cellway, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulate, "MAX_ROWS", 1)
    ended = cellway("simulate", str(files / "access.log"))
    assert len(ended.stdout.splitlines()) == 2
    assert "there are 3 more groups; -o json shows all" in ended.stderr


def test_live_traffic_is_read_for_some_time(files: Path) -> None:
    command = [sys.executable, "-m", "control_plane.cli.main", "simulate", "-", "--for", "1s"]
    command += ["--rules", str(files / "moved.json"), "-o", "json"]
    command += ["--topology", str(files / "export"), "--claims", str(files / "claims.ndjson")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdin is not None
        process.stdin.write(LOG.encode() + b'{"method": "GE')
        process.stdin.flush()
        # The pipe stays open: it is the time that ends the log.
        assert process.wait(60) == DIFFERENT
        report = json.loads(process.stdout.read())
    assert (report["requests"], report["unreadable"]["count"]) == (6, 0)


def test_only_stdin_is_read_for_some_time(cellway: Cellway, files: Path) -> None:
    ended = cellway("simulate", str(files / "access.log"), "--for", "1s")
    assert (ended.returncode, "write -" in ended.stderr) == (Exit.USAGE, True)
