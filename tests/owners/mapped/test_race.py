"""A process that reads the table while the server writes it, changes it and replaces it."""

from __future__ import annotations

import asyncio
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

from control_plane.owners.base import Base
from control_plane.owners.fingerprints import fingerprint
from control_plane.owners.journal import Journal
from control_plane.owners.mapped.reader import open_shared
from control_plane.owners.mapped.writer import SharedOwners
from control_plane.owners.sorted_base import BaseSorter, read_base

KEY = b"0123456789abcdef"
CHANGES = 3_000
REBASE = 400
NAME = ("route", "acme")


def read(directory: Path, pipe: Connection) -> None:
    """Check that the owner is the revision of the table, each time; tell how often it was."""
    table = open_shared(directory)
    assert table is not None
    seen, wrong, tables = 0, 0, 0
    while table.revision < CHANGES:
        if table.refresh():
            tables += 1
            wrong += table.owner_of(*NAME) != table.revision
            seen += table.edge_revision == table.revision
    pipe.send((tables, seen, wrong))


def base_of(revision: int) -> Base:
    """Return the base of a table whose one name is owned by the cell of this number."""
    sorter = BaseSorter(KEY)
    sorter.add([(*NAME, revision)])
    return read_base(b"".join(sorter.file(5, revision)))[0]


async def test_what_is_read_is_of_one_moment(tmp_path: Path) -> None:
    journal = Journal()
    journal.begin(base_of(1))
    shared = SharedOwners(tmp_path, journal)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=read, args=(tmp_path, there))
    process.start()
    there.close()
    shared.update(KEY, 1)
    await shared.close()
    whole = fingerprint(KEY, *NAME)
    for revision in range(2, CHANGES + 1):
        journal.append(revision, [(whole, revision)])
        journal.seal()
        if revision % REBASE == 0:
            journal.rebase(base_of(revision))
        shared.update(KEY, revision)
        if revision % 20 == 0:
            await asyncio.sleep(0)
    tables, seen, wrong = await asyncio.to_thread(here.recv)
    process.join()
    await shared.close()
    assert wrong == 0
    assert seen == tables > 50
