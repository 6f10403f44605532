"""The command against a real control plane: output, exit statuses, guards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.cli.client import Exit
from control_plane.cli.main import hoist
from tests.cli.cellway_command import Cellway
from tests.support.system import RULESETS, System


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("cli"), cells=2) as running:
        running.add_cells()
        yield running


@pytest.fixture
def cellway(system: System) -> Iterator[Cellway]:
    yield Cellway(f"http://127.0.0.1:{system.plane.ports.api}")


def test_common_options_may_stand_anywhere() -> None:
    assert hoist(["cells", "list", "-o", "json"]) == ["-o", "json", "cells", "list"]
    assert hoist(["explain", "/x", "-H", "a: b", "--server=u"]) == [
        "--server=u", "explain", "/x", "-H", "a: b",
    ]  # fmt: skip
    assert hoist(["claims", "claim", "c", "--", "-o"]) == ["claims", "claim", "c", "--", "-o"]


def test_cells_claims_rules_and_explain(cellway: Cellway) -> None:
    listed = cellway("cells", "list", "-o", "json")
    assert [cell["name"] for cell in json.loads(listed.stdout)] == ["cell-1", "cell-2"]
    assert cellway("claims", "claim", "cell-1", "route:foo", "username:bob").returncode == 0
    taken = cellway("claims", "claim", "cell-2", "route:FOO")
    assert taken.returncode == Exit.CONFLICT
    assert "route:foo belongs to cell-1" in taken.stderr
    assert taken.stdout == ""
    applied = cellway("rules", "apply", str(RULESETS / "gitlab.json"), "--wait")
    assert applied.returncode == 0, applied.stderr
    explained = cellway("explain", "https://gitlab.example/foo/bar", "-b", "a=b", "-o", "json")
    assert json.loads(explained.stdout)["cell"] == "cell-1"
    assert cellway("rules", "diff", str(RULESETS / "gitlab.json")).returncode == 0
    assert cellway("rules", "diff", str(RULESETS / "generic.json")).returncode == 2
    status = cellway("fleet", "status", "-o", "json")
    assert json.loads(status.stdout)["items"][0]["state"] == "SYNCED"
    assert "route:foo" in cellway("changes").stdout


@pytest.mark.parametrize("value", ["who?", "a%2fb", "a/b#c", "ünïcode", "a b", "a;b=c&d"])
def test_a_value_may_have_any_characters(cellway: Cellway, value: str) -> None:
    claimed = cellway("claims", "claim", "cell-2", f"tenant:{value}")
    assert claimed.returncode == 0, claimed.stderr
    found = cellway("claims", "get", f"tenant:{value}", "-o", "json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["value"] == value


def test_help_calls_the_command_by_its_name(cellway: Cellway) -> None:
    assert "Usage: cellway claims get" in cellway("claims", "get", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("cells", "get", "nowhere"), Exit.NOT_FOUND),
        (("cells", "get", "../claims"), Exit.NOT_FOUND),
        (("cells", "get", ".."), Exit.USAGE),
        (("cells", "get", ""), Exit.USAGE),
        (("claims", "get", "route:nobody"), Exit.NOT_FOUND),
        (("claims", "get", "nonsense"), Exit.USAGE),
        (("cells", "set", "cell-1", "--weight", "3", "--if-match", '"99"'), Exit.CONFLICT),
        (("cells", "set", "cell-1", "--state", "retired"), Exit.REFUSED),
        (("cells", "add", "cell-1", "--address", "x.example", "--endpoint", "h:1"), Exit.CONFLICT),
        (("cells", "add", "Bad Name", "--address", "x", "--endpoint", "h"), Exit.ERROR),
        (("explain", "/x", "-H", "nocolon"), Exit.USAGE),
        (("cells",), Exit.USAGE),
        (("--server", "http://127.0.0.1:1", "cells", "list"), Exit.ERROR),
        (("cells", "remove", "cell-1"), Exit.USAGE),
    ],
)
def test_exit_statuses(cellway: Cellway, arguments: tuple[str, ...], status: Exit) -> None:
    ended = cellway(*arguments)
    assert ended.returncode == status, ended.stderr
    assert ended.stderr or status is Exit.USAGE


def test_a_dry_run_changes_nothing(cellway: Cellway) -> None:
    told = cellway("cells", "set", "cell-2", "--weight", "1", "--dry-run", "-o", "json")
    assert json.loads(told.stdout)["dry_run"] is True
    assert json.loads(cellway("cells", "get", "cell-2", "-o", "json").stdout)["weight"] == 100


def test_lint_and_bootstrap_need_no_server(cellway: Cellway, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"rules": [{"id": "a", "match": {"type": "path", "regexValue": "(?=x)"}}]}')
    ended = cellway("rules", "lint", str(broken))
    assert ended.returncode == Exit.ERROR
    assert "RE2 refuses" in ended.stderr
    assert cellway("rules", "lint", str(RULESETS / "gitlab.json")).returncode == 0
    made = cellway("envoy", "bootstrap", "--node-id", "edge-7", "--xds", "cp.example:18000")
    assert json.loads(made.stdout)["node"]["id"] == "edge-7"
    made = cellway("envoy", "bootstrap", "--node-id", "n", "--xds", "[::1]:18000")
    (xds,) = json.loads(made.stdout)["staticResources"]["clusters"]
    (locality,) = xds["loadAssignment"]["endpoints"]
    (one,) = locality["lbEndpoints"]
    assert one["endpoint"]["address"]["socketAddress"]["address"] == "::1"


def test_serve_refuses_to_be_open_without_a_token(cellway: Cellway) -> None:
    ended = cellway("serve", "--host", "0.0.0.0")
    assert ended.returncode == Exit.REFUSED
    assert "CELLWAY_API_TOKEN" in ended.stderr


def test_the_database_is_checked_and_migrated(cellway: Cellway, tmp_path: Path) -> None:
    url = ("--database-url", f"sqlite:///{tmp_path}/new.db")
    assert cellway("db", "check", *url).returncode == Exit.ERROR
    assert cellway("db", "migrate", *url).returncode == 0
    assert cellway("db", "check", *url).returncode == 0
