"""Questions for PostgreSQL share statements: which go out together, and what fails with them.

The connections are doubles whose statements are answered when a test says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from sqlalchemy import create_engine

from control_plane.topology.lookup import BatchedLookup, TooManyLookups, batched
from control_plane.topology.lookup.batched import CONNECTIONS, MAX_WAITING
from control_plane.topology.values import DatabaseFailed, Unavailable

OWNERS = {("route", "a"): 1, ("route", "b"): 2}


@dataclass
class Sent:
    """A statement on its way."""

    keys: list[tuple[str, str]]
    answer: asyncio.Future[list[Any]]

    def arrive(self, revision: int = 9, epoch: int | None = 4) -> None:
        numbered = enumerate(self.keys, 1)
        head = (revision, 3, epoch)
        self.answer.set_result([(*head, number, OWNERS.get(key)) for number, key in numbered])


@dataclass
class Server:
    """The statements that all connections have sent, and how many were closed."""

    sent: list[Sent] = field(default_factory=list)
    closed: int = 0


class Connection:
    """In place of an `AsyncConnection`."""

    database = "db"

    def __init__(self, server: Server) -> None:
        self._server = server
        self._answer: asyncio.Future[list[Any]] | None = None

    async def rows(self, _: str, params: Sequence[list[str]] = ()) -> list[Any]:
        self._answer = asyncio.get_running_loop().create_future()
        self._server.sent.append(Sent(list(zip(*params, strict=True)), self._answer))
        return await self._answer

    def cut(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Unavailable("cut"))

    async def close(self) -> None:
        self._server.closed += 1


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(batched, "AsyncConnection", lambda _: Connection(made))
    return made


@pytest.fixture
def lookup(server: Server) -> BatchedLookup:
    return BatchedLookup(create_engine("postgresql+psycopg://nobody@nowhere/none"))


async def ask(lookup: BatchedLookup, *names: str) -> asyncio.Task[Any]:
    """Ask for routes, and let the question get as far as it can."""
    task = asyncio.create_task(lookup.owners_of([("route", name) for name in names]))
    for _ in range(5):
        await asyncio.sleep(0)
    return task


async def test_what_waits_goes_out_in_one_statement_each_key_once(
    lookup: BatchedLookup, server: Server
) -> None:
    first = [await ask(lookup, "a") for _ in range(CONNECTIONS)]
    waiting = [await ask(lookup, "A", "b"), await ask(lookup, "b"), await ask(lookup, "x")]
    assert [len(one.keys) for one in server.sent] == [1] * CONNECTIONS
    assert lookup.waiting == 3
    server.sent[0].arrive()
    await first[0]
    await asyncio.sleep(0)
    assert server.sent[-1].keys == [("route", "a"), ("route", "b"), ("route", "x")]
    server.sent[-1].arrive(revision=10)
    answers = [await one for one in waiting]
    assert [list(one.owners) for one in answers] == [[1, 2], [2], [None]]
    assert {(one.revision, one.edge_revision, one.epoch) for one in answers} == {(10, 3, 4)}
    assert {one.database for one in answers} == {"db"}
    server.sent[1].arrive()
    await first[1]


async def test_a_key_that_can_not_be_claimed_is_not_asked_for(
    lookup: BatchedLookup, server: Server
) -> None:
    task = asyncio.create_task(lookup.owners_of([("user_id", "no number"), ("route", "b")]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (sent,) = server.sent
    assert sent.keys == [("route", "b")]
    sent.arrive(epoch=None)
    seen = await task
    assert (list(seen.owners), len(seen.shards), seen.epoch) == ([None, 2], 1, 0)


async def test_a_lost_connection_is_made_anew_once(lookup: BatchedLookup, server: Server) -> None:
    task = await ask(lookup, "a")
    server.sent[0].answer.set_exception(Unavailable("lost"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (len(server.sent), server.closed) == (2, 1)
    server.sent[1].answer.set_exception(Unavailable("lost again"))
    with pytest.raises(Unavailable, match="lost again"):
        await task


@pytest.mark.parametrize(
    ("error", "raised"),
    [(DatabaseFailed("full"), DatabaseFailed), (TimeoutError(), Unavailable)],
)
async def test_a_statement_that_fails_fails_for_all_its_questions_and_no_other(
    lookup: BatchedLookup,
    server: Server,
    error: Exception,
    raised: type[Exception],
) -> None:
    tasks = [await ask(lookup, "a") for _ in range(CONNECTIONS)]
    waiting = await ask(lookup, "b")
    server.sent[0].answer.set_exception(error)
    with pytest.raises(raised):
        await tasks[0]
    await asyncio.sleep(0)
    server.sent[-1].arrive()
    assert list((await waiting).owners) == [2]
    server.sent[1].arrive()
    await tasks[1]


async def test_too_many_are_refused_at_once(lookup: BatchedLookup, server: Server) -> None:
    tasks = [await ask(lookup, "a") for _ in range(CONNECTIONS)]
    tasks += [asyncio.create_task(lookup.owners_of([])) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyLookups):
        await lookup.owners_of([("route", "a")])
    await lookup.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(one) for one in results} == {Unavailable}
    assert server.closed >= CONNECTIONS


async def test_after_it_is_closed_it_answers_nobody(lookup: BatchedLookup) -> None:
    await lookup.close()
    with pytest.raises(Unavailable, match="closed"):
        await lookup.owners_of([])


async def test_epochs_are_read_over_a_connection_of_their_own(
    lookup: BatchedLookup, server: Server
) -> None:
    task = asyncio.create_task(lookup.epochs())
    await asyncio.sleep(0)
    cast("Any", server.sent[0].answer).set_result([(9, 3, 7, 5), (9, 3, 8, 6)])
    read = await task
    assert (read.revision, read.edge_revision, dict(read.epochs)) == (9, 3, {7: 5, 8: 6})
    assert server.closed == 1
