"""Those who ask at once share a read, and nobody is answered by a read that began before."""

from __future__ import annotations

import asyncio
import threading

from control_plane.xds.server.revision_probe import RevisionProbe


async def test_a_thousand_questions_at_once_are_few_reads_and_none_is_older_than_its_question() -> (
    None
):
    reads = 0
    committed = 0

    def read_it() -> int:
        nonlocal reads
        reads += 1
        return committed

    probe = RevisionProbe(read_it)
    early = [asyncio.create_task(probe.newest_revision()) for _ in range(500)]
    await asyncio.sleep(0)
    committed = 1
    late = [asyncio.create_task(probe.newest_revision()) for _ in range(500)]
    assert set(await asyncio.gather(*late)) == {1}
    assert set(await asyncio.gather(*early)) <= {0, 1}
    assert reads <= 2


async def test_closing_waits_for_a_read_that_nobody_waits_for_any_more() -> None:
    """Else the thread would open a connection of a database that has been closed."""
    go, done = threading.Event(), threading.Event()

    def read_it() -> int:
        go.wait(10)
        done.set()
        return 1

    probe = RevisionProbe(read_it)
    asking = asyncio.create_task(probe.newest_revision())
    await asyncio.sleep(0)
    asking.cancel()
    asyncio.get_running_loop().call_later(0.05, go.set)
    await probe.close()
    assert done.is_set()
    await probe.close()
