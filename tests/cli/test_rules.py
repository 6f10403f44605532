"""``cellway rules``: a ruleset is checked, kept, made the active one, compared and rolled back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from control_plane.cli.client import Exit
from tests.cli.cellway_command import Cellway
from tests.support.system import RULESETS

GITLAB, GENERIC = str(RULESETS / "gitlab.json"), str(RULESETS / "generic.json")
RULE = b'{"id": "all", "action": "proxy", "on_cell_down": 503}'
NOWHERE = Cellway("http://127.0.0.1:1")


def test_from_the_first_ruleset_to_a_rollback(cellway: Cellway) -> None:
    none = cellway("rules", "show")
    assert (none.returncode, "no ruleset is active" in none.stderr) == (Exit.NOT_FOUND, True)
    assert cellway("rules", "diff", GITLAB).returncode == 2
    dry = cellway("rules", "apply", GITLAB, "-n")
    assert (dry.returncode, "nothing was changed (dry run)" in dry.stderr) == (0, True)
    assert cellway("rules", "list", "-o", "json").stdout == "[]\n"
    for file in (GITLAB, GENERIC):
        applied = cellway("rules", "apply", file)
        assert applied.returncode == 0, applied.stderr
    assert "generic version 1 routes now" in applied.stderr
    same = cellway("rules", "diff", GENERIC)
    assert (same.returncode, same.stdout) == (0, "")
    different = cellway("rules", "diff", GITLAB)
    assert (different.returncode, different.stdout.splitlines()[0]) == (2, "--- active")
    asked = cellway("rules", "rollback", "gitlab", "--version", "1")
    assert (asked.returncode, "--yes" in asked.stderr) == (Exit.USAGE, True)
    dry = cellway("rules", "rollback", "gitlab", "--version", "1", "-n")
    assert "gitlab version 1 would route" in dry.stderr
    assert cellway("rules", "rollback", "gitlab", "--version", "1", "--yes").returncode == 0
    shown = cellway("rules", "show")
    assert json.loads(shown.stdout) == json.loads(Path(GITLAB).read_text())
    assert "gitlab version 1" in shown.stderr
    listed = json.loads(cellway("rules", "list", "-o", "json").stdout)
    assert [one["name"] for one in listed if one["active"]] == ["gitlab"]


def test_a_ruleset_that_can_t_work_is_not_sent(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"rules": [{"id": "a", "match": {"type": "path", "regexValue": "(?=x)"}}]}')
    checked = NOWHERE("rules", "lint", str(broken), "-o", "json")
    assert (checked.returncode, "RE2 refuses" in checked.stderr) == (Exit.ERROR, True)
    (finding,) = [one for one in json.loads(checked.stdout) if "RE2" in one["message"]]
    assert set(finding) == {"severity", "rule", "field", "message", "mend"}
    assert (finding["severity"], finding["rule"]) == ("error", "a")
    applied = NOWHERE("rules", "apply", str(broken))
    assert (applied.returncode, "nothing was changed" in applied.stderr) == (Exit.ERROR, True)
    good = NOWHERE("rules", "lint", GITLAB)
    assert (good.returncode, "no errors" in good.stderr) == (0, True)


@pytest.mark.parametrize(
    ("text", "command", "status", "says"),
    [
        (b'{"rules": [%s]}' % RULE, "apply", Exit.USAGE, "has no name; give --name"),
        (b"[%s]" % RULE, "apply", Exit.USAGE, "has no name; give --name"),
        (b'{"name": 5, "rules": [%s]}' % RULE, "apply", Exit.USAGE, "has no name; give --name"),
        (b"\xff", "lint", Exit.USAGE, "is not UTF-8"),
        (b" " * (1 << 20) + b"{}", "lint", Exit.ERROR, "is larger than 1048576 bytes"),
    ],
)
def test_what_is_no_ruleset_says_why(
    tmp_path: Path, text: bytes, command: str, status: Exit, says: str
) -> None:
    file = tmp_path / "r.json"
    file.write_bytes(text)
    ended = NOWHERE("rules", command, str(file))
    assert (ended.returncode, says in ended.stderr) == (status, True), ended.stderr


def test_the_results_of_cases_are_data_too() -> None:
    cases = str(RULESETS / "gitlab.tests.yaml")
    done = NOWHERE("rules", "test", cases, "-o", "json")
    assert (done.returncode, "cases are as expected" in done.stderr) == (0, True)
    assert {one["ok"] for one in json.loads(done.stdout)} == {True}
    other = NOWHERE("rules", "test", cases, "--rules", GENERIC)
    assert (other.returncode, "cases are not as expected" in other.stderr) == (Exit.ERROR, True)
    assert "FAIL" in other.stdout


def test_words_of_a_route_table_are_reserved(tmp_path: Path) -> None:
    ruleset, table, saved = tmp_path / "r.json", tmp_path / "routes.json", tmp_path / "kept.tsv"
    match = {"type": "path", "regexValue": "^/u/(?<name>[^/]+)"}
    claims = {"claims": [{"username": "${name}"}]}
    rule = {"id": "u", "match": match, "action": "classify", "classify": claims}
    ruleset.write_text(json.dumps({"name": "r", "rules": [rule]}))
    table.write_text('[{"template": "/u/login/:how"}, {"template": "/u/:name/login"}]')
    reserve = ("rules", "reserve", str(ruleset), "--routes", str(table), "--save", str(saved))
    before = ruleset.read_text()
    dry = NOWHERE(*reserve, "-n")
    assert (dry.returncode, ruleset.read_text(), saved.exists()) == (0, before, False)
    done = NOWHERE(*reserve, "-o", "json")
    assert json.loads(done.stdout) == {"changed": True, "routes": ["/u/login/:how"]}
    guard = {"type": "path", "regexValue": "^/u/login(?:/|$)", "invert": True}
    assert json.loads(ruleset.read_text())["rules"][0]["match"] == [match, guard]
    assert saved.read_text() == "/u/login/:how\t-\n"
    again = NOWHERE("rules", "reserve", str(ruleset), "--routes", str(saved))
    assert (again.returncode, "are the same; 1 routes" in again.stderr) == (0, True)


@pytest.mark.parametrize(
    ("ruleset", "table", "text"),
    [
        ("[]", "/a", "is no object"),
        ('{"rules": [1]}', "/a", "a rule is an object"),
        ('{"rules": [{"id": "a", "action": "proxy"}]}', "", "is no route table"),
        ('{"rules": [{"id": "a", "action": "proxy"}]}', "[{]", "is no route table"),
    ],
)
def test_what_can_t_be_reserved_is_said(
    tmp_path: Path, ruleset: str, table: str, text: str
) -> None:
    (tmp_path / "r.json").write_text(ruleset)
    (tmp_path / "t").write_text(table)
    answer = NOWHERE("rules", "reserve", str(tmp_path / "r.json"), "--routes", str(tmp_path / "t"))
    assert answer.returncode != 0
    assert text in answer.stderr
    assert "Traceback" not in answer.stderr
