"""Those who wait for a revision to be published are woken when it is, and when it is refused."""

from __future__ import annotations

import asyncio

from control_plane.xds.fleet.publication import Publication

SOON_S, LONG_S = 0.01, 10.0


async def test_a_revision_is_waited_for_until_it_is_published() -> None:
    publication = Publication()
    waiting = asyncio.create_task(publication.wait(5, LONG_S))
    await asyncio.sleep(0)
    publication.published(4)
    await asyncio.sleep(0)
    assert not waiting.done()
    publication.published(6)
    assert await waiting
    assert await publication.wait(5, LONG_S)
    assert not await publication.wait(7, SOON_S)
    assert publication._waiting == set()


async def test_a_refusal_ends_the_waiting_at_once() -> None:
    publication = Publication()
    publication.published(4)
    waiting = asyncio.create_task(publication.wait(5, LONG_S))
    await asyncio.sleep(0)
    publication.refused(6, "most cells are gone")
    assert not await waiting
    assert publication.why_not(5) == publication.why_not(6) == "most cells are gone"
    assert publication.why_not(7) == publication.why_not(4) == ""
    assert publication.refusal == (6, "most cells are gone")


def test_a_newer_revision_that_goes_out_ends_a_refusal() -> None:
    publication = Publication()
    publication.refused(6, "most cells are gone")
    publication.published(7)
    assert publication.refusal is None
    assert publication.why_not(6) == ""
