"""A program that writes a table of owners to disk without a pause, until it is killed.

    python -m tests.edge_agent.map_writer DIRECTORY

At revision R the owner of name h is the last revision up to R that is h modulo `CHANGING`; the other
names have no other owner than 1. So whoever loads the file can tell whether it is what its revision
says. The program does so when it starts, and prints the revision; if the table is wrong, it fails.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from control_plane.edge_agent import map_store
from control_plane.edge_agent.map_store import MapStore
from control_plane.edge_agent.metrics import MapMetrics
from control_plane.owners.frames import decode
from control_plane.owners.journal import Journal
from tests.owners.tables import Reader, base, journal

CHANGING = 500
NAMES = 12_000


def owners_at(revision: int) -> dict[int, int]:
    """Return the table of a revision."""
    owners = dict.fromkeys(range(CHANGING, NAMES), 1)
    last = revision - revision % CHANGING
    for h in range(CHANGING):
        newest = last + h if last + h <= revision else last + h - CHANGING
        if newest > 0:
            owners[h] = newest
    return owners


def check(one: Journal) -> int:
    """Return the revision of a journal whose owners are those of its revision."""
    if one.base is None:
        return 0
    reader = Reader()
    reader.take_all([one.base.begin(), *one.base.frames, *one.since_base()])
    assert reader.owners == owners_at(reader.revision), f"revision {reader.revision} is wrong"
    return reader.revision


async def write(directory: Path) -> None:
    """Load what is there, check it, and go on from it."""
    map_store.INTERVAL_S = 0.0
    map_store.RENEW_AT_BYTES = 20_000
    store = MapStore(directory, MapMetrics())
    await store.load()
    revision = check(store.journal)
    print(revision, flush=True)
    source = journal(owners_at(revision), revision or 1)
    writing = asyncio.create_task(store.run())
    while not writing.done():
        if store.journal.base is None or random.random() < 0.02:
            await receive(store, revision or 1)
        position = source.end
        for _ in range(random.randrange(1, 40)):
            revision = max(revision, 1) + 1
            source.append(revision, [(revision % CHANGING, revision)])
            source.seal()
        for data in source.frames(position, 1 << 20) or ():
            store.journal.relay(data, decode(data))
        store.changed()
        await asyncio.sleep(0.002)
    writing.result()


async def receive(store: MapStore, revision: int) -> None:
    """Take a whole base, as from a control plane."""
    one, spool = base(owners_at(revision), revision), store.spool()
    for data in one.frames:
        await asyncio.to_thread(spool.add, data, decode(data).count)
    await store.begin(decode(one.begin()), spool)


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1])))
