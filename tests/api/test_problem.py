"""Each error of the topology has a status and a code of its own, and says what to do."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from control_plane.api.problem import MAX_ERRORS, MEDIA_TYPE, problem, topology_problem
from control_plane.topology.values.errors import (
    AlreadyExists,
    Contention,
    DatabaseDamaged,
    DatabaseDenied,
    DatabaseFailed,
    DatabaseFull,
    DatabaseSlow,
    Gone,
    Invalid,
    Locked,
    NotFound,
    Problem,
    ReadOnly,
    Refused,
    StaleVersion,
    TopologyError,
    Unavailable,
)


def document(error: TopologyError, *, forceable: bool = False) -> dict[str, Any]:
    answer = topology_problem(error, forceable=forceable)
    assert answer.media_type == MEDIA_TYPE
    shown: dict[str, Any] = json.loads(bytes(answer.body))
    assert shown["status"] == answer.status_code
    return shown


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Invalid(Problem("name", "is empty", "give one")), 422, "invalid"),
        (NotFound("cell", "x"), 404, "not-found"),
        (AlreadyExists("claim", (("route:a", "cell-1"),)), 409, "already-exists"),
        (StaleVersion("cell", "x", 1, 2), 412, "stale-version"),
        (Refused("cell x", "no"), 409, "refused"),
        (Gone(7), 410, "gone"),
        (Contention("busy"), 503, "contention"),
        (Unavailable("down"), 503, "unavailable"),
        (ReadOnly("a standby"), 503, "database-read-only"),
        (DatabaseFull("no space"), 503, "database-full"),
        (DatabaseSlow("a timeout"), 503, "database-slow"),
        (DatabaseDenied("no right"), 503, "database-denied"),
        (DatabaseDamaged("malformed"), 503, "database-damaged"),
        (TopologyError("odd"), 500, "topology"),
    ],
)
def test_an_error_has_its_status_and_code(error: TopologyError, status: int, code: str) -> None:
    shown = document(error)
    assert (shown["status"], shown["code"], shown["detail"]) == (status, code, str(error))


def test_each_wrong_field_is_named_with_its_hint() -> None:
    error = Invalid(Problem("a", "is odd", "make it even"), Problem("b", "is even", "make it odd"))
    assert document(error)["errors"] == [
        {"field": "a", "message": "is odd", "mend": "make it even"},
        {"field": "b", "message": "is even", "mend": "make it odd"},
    ]


def test_only_a_refusal_that_can_be_overridden_says_so() -> None:
    assert "force" in document(Refused("cell x", "no"), forceable=True)["mend"]
    assert "mend" not in document(Refused("cell x", "no"))
    assert "mend" not in document(NotFound("cell", "x"), forceable=True)


def test_what_passes_by_itself_may_be_repeated_soon() -> None:
    assert topology_problem(Unavailable("down")).headers["retry-after"] == "1"
    assert int(topology_problem(DatabaseFull("no space")).headers["retry-after"]) > 0
    assert "retry-after" not in topology_problem(NotFound("cell", "x")).headers


def test_a_list_of_locked_claims_is_bounded() -> None:
    locked = Locked(tuple((f"route:{number}", "lease") for number in range(MAX_ERRORS + 1)))
    assert len(document(locked)["held"]) == MAX_ERRORS


def test_a_failure_of_the_database_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert document(DatabaseFailed("the disk is full"))["code"] == "internal"
    assert "a request failed" in caplog.text


def test_a_problem_has_the_title_of_its_status_and_further_members() -> None:
    shown = json.loads(bytes(problem(404, "gone fishing", code="x", since=3).body))
    assert shown["title"] == "Not Found"
    assert (shown["detail"], shown["code"], shown["since"]) == ("gone fishing", "x", 3)


@pytest.mark.parametrize("status", [404, 500, 503])
def test_only_after_a_fault_of_ours_the_connection_ends(status: int) -> None:
    ends = problem(status, "odd", code="x").headers.get("connection") == "close"
    assert ends == (status == 500)
