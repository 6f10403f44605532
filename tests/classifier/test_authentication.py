"""Which secrets count, and when a question needs one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from control_plane.classifier import authentication
from control_plane.classifier.authentication import Authentication, Stranger
from control_plane.topology import Topology
from control_plane.topology.edge_secrets import EdgeSecret
from control_plane.topology.values import Unavailable
from tests.support.conditions import until


class Strangers:
    def __init__(self) -> None:
        self.seen: list[tuple[Stranger, bool]] = []

    def stranger(self, why: Stranger, *, answered: bool) -> None:
        self.seen.append((why, answered))


def secret(grace_s: float = 0.0, *accepted: str) -> EdgeSecret:
    values = accepted or ("a" * 64, "b" * 64)
    return EdgeSecret(3, datetime.now(UTC), grace_s, values[0], values)


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    opened = Topology.open(f"sqlite:///{tmp_path}/a.db")
    yield opened
    opened.close()


def test_a_classifier_that_has_not_heard_of_a_rotation_takes_the_secret_before_and_after_it(
    topology: Topology,
) -> None:
    behind = Authentication(topology.edge_secrets.read, Strangers())
    sent = [topology.edge_secrets.read().current]
    for _ in range(2):
        sent.append(topology.edge_secrets.rotate(actor="t", force=True).value.current)
    ahead = Authentication(topology.edge_secrets.read, Strangers())
    assert len(set(sent)) == 3
    assert [behind.is_secret(one.encode()) for one in sent] == [True, True, False]
    assert [ahead.is_secret(one.encode()) for one in sent] == [False, True, True]
    assert not any(ahead.is_secret(odd) for odd in (b"", b"x", b"\xff" * 64, sent[2][:-1].encode()))


def test_what_is_wrong_is_counted_and_logged_without_the_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen = Strangers()
    door = Authentication(secret, seen)
    assert not door.admits(None, "10.0.0.7")
    assert not door.admits(b"guess", "10.0.0.7")
    assert seen.seen == [(Stranger.NO_SECRET, False), (Stranger.WRONG_SECRET, False)]
    assert "a question of 10.0.0.7 is refused: no secret" in caplog.text
    assert "guess" not in caplog.text
    assert "a" * 64 not in caplog.text + repr(secret())


@pytest.mark.parametrize(("demanded", "grace_s", "open_until"), [(True, 900, 900), (False, 0, 1e9)])
def test_strangers_are_answered_for_a_bounded_time_after_an_upgrade_or_where_it_is_set(
    caplog: pytest.LogCaptureFixture, *, demanded: bool, grace_s: float, open_until: float
) -> None:
    now = 0.0
    seen = Strangers()
    with caplog.at_level(logging.WARNING):
        door = Authentication(lambda: secret(grace_s), seen, demanded=demanded, clock=lambda: now)
    assert "questions are answered without a secret" in caplog.text
    now = open_until - 1
    assert door.admits(b"wrong", "p")
    assert seen.seen == [(Stranger.WRONG_SECRET, True)]
    now = open_until
    assert door.admits(None, "p") is (not demanded)


async def test_the_last_secrets_count_while_the_database_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(authentication, "REREAD_S", 0.001)
    answers: list[EdgeSecret | Exception] = [secret(), Unavailable("gone"), RuntimeError("a bug")]
    asked = 0

    def read() -> EdgeSecret:
        nonlocal asked
        asked += 1
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    door = Authentication(read, Strangers())
    heard: list[None] = []
    following = asyncio.create_task(door.follow(lambda: heard.append(None)))
    await until(lambda: asked > 5)
    assert door.is_secret(b"a" * 64)
    assert not heard
    answers.append(secret(0.0, "c" * 64))
    await until(lambda: len(heard) == 1)
    assert (door.is_secret(b"c" * 64), door.is_secret(b"a" * 64)) == (True, False)
    following.cancel()
