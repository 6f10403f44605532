"""``cellway operations``, and the wait for one that runs in the background."""

from __future__ import annotations

import json
from typing import Any

import pytest

from control_plane.cli import operations
from control_plane.cli.client import Exit
from tests.cli.canned_api import CannedApi
from tests.cli.cellway_command import Cellway

RELEASE = ("claims", "release-all", "c1", "--reason", "r", "--yes")


def operation(state: str, done: int, detail: str | None = None) -> dict[str, Any]:
    return {
        "id": "o-1", "kind": "release", "target": "c1", "state": state, "done": done, "total": 3,
        "started_at": "2026-01-01T00:00:00Z", "actor": "a", "detail": detail,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("last", "status", "says"),
    [
        (operation("done", 3), 0, "operation o-1: goes on without this command"),
        (operation("failed", 1, "the disk is full"), Exit.ERROR, "release is failed: the disk is"),
        (operation("interrupted", 1), Exit.ERROR, "start it again: it goes on where it was"),
    ],
)
def test_a_command_waits_until_its_operation_has_ended(
    last: dict[str, Any], status: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = CannedApi(
        {
            "/v1/cells/c1/release-claims": (202, {"operation": operation("running", 0)}),
            "/v1/operations/o-1": (200, operation("running", 1)),
        }
    )
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            api.answers["/v1/operations/o-1"] = (200, last)

    monkeypatch.setattr(operations.time, "sleep", pause)
    with api.running():
        ended = Cellway(api.url)(*RELEASE, "-o", "json")
    assert (ended.returncode, says in ended.stderr) == (status, True), ended.stderr
    assert json.loads(ended.stdout) == last
    assert len(pauses) == 2


def test_operations_are_listed_and_shown() -> None:
    one = operation("running", 2)
    answers = {"/v1/operations": (200, {"items": [one]}), "/v1/operations/o-1": (200, one)}
    with CannedApi(answers).running() as api:
        cellway = Cellway(api.url)
        heading, row = cellway("operations", "list").stdout.splitlines()
        assert heading.split()[:6] == ["ID", "KIND", "TARGET", "STATE", "DONE", "TOTAL"]
        assert row.split()[:6] == ["o-1", "release", "c1", "running", "2", "3"]
        assert "state: running" in cellway("operations", "get", "o-1", "-o", "yaml").stdout
