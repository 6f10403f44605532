"""Those who wait for a node or for a revision are woken when it is there, and not before."""

from __future__ import annotations

import asyncio

from control_plane.xds.fleet.waiting import JoinWaiters, RevisionWaiters
from control_plane.xds.session.delta import DeltaSession

SOON_S, LONG_S = 0.01, 10.0


def at(revision: int) -> DeltaSession:
    session = DeltaSession()
    session.acked_revision = revision
    return session


async def test_nobody_waits_for_what_all_run_already() -> None:
    assert await RevisionWaiters().wait(5, [at(5), at(6)], LONG_S)
    assert await RevisionWaiters().wait(5, [], LONG_S)


async def test_the_last_session_that_acknowledges_wakes_the_waiter() -> None:
    waiters, sessions = RevisionWaiters(), [at(4), at(4)]
    waiting = asyncio.create_task(waiters.wait(5, sessions, LONG_S))
    await asyncio.sleep(0)
    for session in sessions:
        assert not waiting.done()
        session.acked_revision = 5
        waiters.heard(session)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert await waiting


async def test_an_acknowledgement_of_an_older_revision_wakes_nobody() -> None:
    waiters, session = RevisionWaiters(), at(3)
    waiting = asyncio.create_task(waiters.wait(5, [session], SOON_S))
    await asyncio.sleep(0)
    session.acked_revision = 4
    waiters.heard(session)
    assert not await waiting


async def test_a_session_that_ends_is_not_waited_for() -> None:
    waiters, session = RevisionWaiters(), at(4)
    waiting = asyncio.create_task(waiters.wait(5, [session], LONG_S))
    await asyncio.sleep(0)
    waiters.left(session)
    assert await waiting


async def test_a_session_that_joins_meanwhile_is_waited_for_too() -> None:
    waiters, old, new = RevisionWaiters(), at(4), at(0)
    waiting = asyncio.create_task(waiters.wait(5, [old], SOON_S))
    await asyncio.sleep(0)
    waiters.joined(new)
    waiters.joined(at(5))
    waiters.left(old)
    assert not await waiting


async def test_a_node_that_is_there_wakes_those_who_wait_for_it_only() -> None:
    waiters = JoinWaiters()
    first, second, other = (
        asyncio.create_task(waiters.wait(node, wait_s))
        for node, wait_s in (("n", LONG_S), ("n", LONG_S), ("m", SOON_S))
    )
    await asyncio.sleep(0)
    waiters.joined("n")
    assert await first
    assert await second
    assert not await other
    assert waiters._events == {}


class Picky(DeltaSession):
    """Refuses what it is sent, once it says so."""

    words = ""
    newest = 5

    @property
    def revision(self) -> int:
        return self.newest

    def refusal(self) -> str:
        return self.words


async def test_a_session_that_refuses_ends_the_waiting_at_once() -> None:
    waiters, picky, slow = RevisionWaiters(), Picky(), at(4)
    waiting = asyncio.create_task(waiters.wait(5, [picky, slow], LONG_S))
    await asyncio.sleep(0)
    waiters.heard(picky)
    await asyncio.sleep(0)
    assert not waiting.done()
    picky.words = "cell:a: no such file"
    waiters.heard(picky)
    assert not await waiting
    assert not await waiters.wait(5, [picky], LONG_S), "it had refused before"


async def test_who_refuses_an_older_revision_is_waited_for() -> None:
    waiters, picky = RevisionWaiters(), Picky()
    picky.words, picky.newest = "cell:a: no such file", 4
    waiting = asyncio.create_task(waiters.wait(5, [picky], LONG_S))
    await asyncio.sleep(0)
    waiters.heard(picky)
    picky.words, picky.newest, picky.acked_revision = "", 5, 5
    waiters.heard(picky)
    assert await waiting
