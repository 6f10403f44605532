"""Durations, If-Match, and the answer to a write."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from control_plane.api.callers import Admission
from control_plane.api.fleet_wait import Standing
from control_plane.api.problem import ProblemError
from control_plane.api.write import ANY_VERSION, MAX_CHANGES, RequestedWrite, seconds
from control_plane.names import REVISION_HEADER
from control_plane.topology.values.change import Change, Written


class Always(Admission):
    """Credentials that never lose their worth."""

    def __init__(self) -> None:
        pass

    async def ended(self) -> None:
        await asyncio.Event().wait()


class Waited:
    """Knows how far each revision has come, or that it does not come."""

    def __init__(self, standing: Standing | ProblemError | None = None) -> None:
        self._standing = standing or Standing()

    async def wait(self, revision: int, timeout_s: float) -> Standing:
        assert (revision, timeout_s) == (7, 0.01)
        if isinstance(self._standing, ProblemError):
            raise self._standing
        return self._standing


def write(**options: Any) -> RequestedWrite:
    parts: dict[str, Any] = {
        "actor": "a",
        "dry_run": False,
        "force": False,
        "wait": False,
        "timeout_s": 0.01,
        "expected": None,
        "fleet": Waited(),
        "admission": Always(),
    }
    return RequestedWrite(**{**parts, **options})


@pytest.mark.parametrize(
    ("text", "value"), [("500ms", 0.5), ("5s", 5.0), ("1m", 60.0), ("2", 2.0), ("0.5s", 0.5)]
)
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "0s", "-1s", "1h", "301s", "5 s", "5s\n", "\u0665s", "1e3"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ProblemError, match="is not a duration") as refused:
        seconds(text)
    assert refused.value.status == 422


def test_if_match_may_be_needed() -> None:
    with pytest.raises(ProblemError) as refused:
        write().need_match()
    assert refused.value.status == 428
    assert write().match() is None


def test_a_star_matches_any_version() -> None:
    assert write(expected=ANY_VERSION).need_match() is None
    assert write(expected=ANY_VERSION).match() is None
    assert write(expected=0).need_match() == 0
    assert write(expected=3).match() == 3


def change(revision: int) -> Change:
    return Change(revision, "cell", "create", "c", None, {}, "a", datetime.now(UTC))


async def test_the_answer_names_revision_and_etag() -> None:
    answer = await write().answer(Written(None, 7, ()), {"cell": "c"}, status=201, etag=3)
    assert answer.status_code == 201
    assert (answer.headers[REVISION_HEADER], answer.headers["etag"]) == ("7", '"3"')
    assert json.loads(bytes(answer.body)) == {"cell": "c", "revision": 7}
    assert "etag" not in (await write().answer(Written(None, 7, ()), {}, etag=None)).headers


async def test_a_dry_run_is_a_200_with_a_bounded_list_of_changes() -> None:
    written = Written(None, 7, tuple(change(number) for number in range(MAX_CHANGES + 1)))
    answer = await write(dry_run=True).answer(written, {}, status=201, etag=None)
    assert answer.status_code == 200
    document = json.loads(bytes(answer.body))
    assert document["dry_run"] is True
    assert len(document["changes"]) == MAX_CHANGES


@pytest.mark.parametrize(
    ("standing", "summary"),
    [
        (Standing(), "no Envoy is connected: nothing was waited for"),
        (Standing(3, 3), "acknowledged by 3 of 3 Envoys"),
    ],
)
async def test_the_answer_says_how_many_envoys_were_waited_for(
    standing: Standing, summary: str
) -> None:
    waited = write(wait=True, fleet=Waited(standing))
    answer = await waited.answer(Written(None, 7, ()), {}, etag=None)
    assert answer.status_code == 200
    assert json.loads(bytes(answer.body))["fleet"]["summary"] == summary
    assert "fleet" not in json.loads(
        bytes((await write().answer(Written(None, 7, ()), {}, etag=None)).body)
    )


async def test_a_fleet_that_does_not_run_it_is_an_error() -> None:
    late = Waited(ProblemError(504, "late"))
    with pytest.raises(ProblemError, match="late"):
        await write(wait=True, fleet=late).answer(Written(None, 7, ()), {}, etag=None)
