"""What a notification of another process's commit becomes, and what ends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from control_plane.jobs import notifications
from control_plane.jobs.notifications import CommitNotifications, revision_of
from control_plane.topology import Topology
from control_plane.topology.storage.sqlite import SqliteDialect
from control_plane.topology.values.errors import Unavailable


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    opened = Topology.open(f"sqlite:///{tmp_path}/n.db")
    yield opened
    opened.close()


def test_what_is_no_revision_still_tells_of_a_commit(topology: Topology) -> None:
    heard: list[int] = []
    topology.subscribe(heard.append)
    for text in ("12", "", "x", "-1", "\uff11\uff12"):
        CommitNotifications(topology).heard(text)
    assert heard == [12, 0, 0, 0, 0]


@example("1" * 5000)
@example("9223372036854775808")
@example("\u00b2")
@example("+1")
@example("1_0")
@given(st.text() | st.from_regex(r"\d+", fullmatch=True) | st.integers().map(str))
def test_whatever_a_notification_says_it_is_a_revision_or_none(text: str) -> None:
    revision = revision_of(text)
    assert 0 <= revision < 2**63
    if revision:
        assert text.lstrip("0") == str(revision)


@given(st.integers(0, 2**63 - 1))
def test_every_revision_is_understood(revision: int) -> None:
    assert revision_of(str(revision)) == revision


async def test_an_embedded_database_is_not_listened_to(topology: Topology) -> None:
    await asyncio.wait_for(CommitNotifications(topology).run(), 10)


async def test_a_lost_connection_is_made_anew(
    topology: Topology, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = 0

    async def listening(_: SqliteDialect) -> AsyncIterator[str]:
        nonlocal tries
        tries += 1
        yield str(tries)
        if tries < 3:
            raise Unavailable("the server is gone")
        await asyncio.Event().wait()

    monkeypatch.setattr(notifications, "RECONNECT_S", 0)
    monkeypatch.setattr(SqliteDialect, "embedded", False)
    monkeypatch.setattr(SqliteDialect, "notifications", listening)
    heard: asyncio.Queue[int] = asyncio.Queue()
    topology.subscribe(heard.put_nowait)
    task = asyncio.create_task(CommitNotifications(topology).run())
    async with asyncio.timeout(10):
        assert [await heard.get() for _ in range(3)] == [1, 2, 3]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    warning = (
        "other processes' commits are seen late until the database is back: "
        "the database is unavailable: the server is gone"
    )
    assert [one.getMessage() for one in caplog.records] == [warning] * 2
