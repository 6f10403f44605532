"""What a server shares in files says what the database says, at each revision that it names."""

from __future__ import annotations

import asyncio
import errno
import random
from pathlib import Path
from typing import Any

import pytest

from control_plane.owners.frames import ASK, NOBODY
from control_plane.owners.mapped import reader, writer
from control_plane.owners.mapped.reader import SharedTable, open_shared
from control_plane.owners.mapped.state import State, create_page, decode_state, encode_state
from control_plane.topology import Topology
from control_plane.topology.maintenance.backup import advance
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.errors import Unavailable
from tests.owners.mapped.sharing import Sharing
from tests.owners.source.changes import ME, NAMES, change, new_topology
from tests.owners.weak import weak_hash, weaken
from tests.topology.machine.owners_follower import all_owners


@pytest.fixture
def topology(tmp_path: Path) -> Any:
    made = new_topology(tmp_path)
    yield made
    made.close()


def check(table: SharedTable, topology: Topology, names: list[str] = NAMES) -> int:
    """Compare a table with the database; return how many names it is not certain of."""
    revision, owners = all_owners(topology)
    assert table.refresh()
    assert table.revision == revision
    asked = 0
    for name in names:
        found = table.owner_of("route", name)
        asked += found == ASK
        assert found in (owners.get(("route", name), NOBODY), ASK)
    return asked


@pytest.mark.parametrize("seed", range(2))
async def test_readers_see_what_the_database_has_whatever_happens(
    topology: Topology, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    sharing = Sharing(topology, tmp_path, max_log_bytes=1_000)
    await sharing.follow()
    tables = [sharing.open() for _ in range(3)]
    for turn in range(30):
        for _ in range(dice.choice((1, 1, 4))):
            change(topology, dice)
        if turn == 10:
            topology.changes.prune(keep=0)
        if turn == 20:
            advance(topology._store, 0)
        await sharing.follow()
        if dice.random() < 0.2:
            tables[0] = sharing.open()
        for table in dice.sample(tables, 2):
            assert check(table, topology) == 0
            assert table.edge_revision == topology.snapshot().edge_revision
            assert table.known_at == sharing.times[-1]
    assert sharing.feed.journal.bases > sharing.feed.journal.lineages > 1
    left = sorted(one.name for one in sharing.files.iterdir())
    assert len(left) == 3, "files of older generations are gone"
    await sharing.feed._stop_building()


async def test_names_that_collide_are_to_be_asked_about(
    topology: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weaken(monkeypatch)
    monkeypatch.setattr(reader, "fingerprint", weak_hash)
    dice = random.Random(5)
    sharing = Sharing(topology, tmp_path)
    await sharing.follow()
    table = sharing.open()
    asked = 0
    for _ in range(40):
        change(topology, dice)
        await sharing.follow()
        claimed = [value for bucket, value in all_owners(topology)[1] if bucket == "route"]
        asked = max(asked, check(table, topology, claimed))
    assert asked > 1


async def test_a_process_that_was_away_reads_many_changes_in_steps(
    topology: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharing = Sharing(topology, tmp_path)
    await sharing.follow()
    table = sharing.open()
    monkeypatch.setattr(reader, "READ_BYTES", 200)
    for number in range(20):
        topology.claims.claim([ClaimSpec("route", f"x{number}", "cell-1")], actor=ME)
        await sharing.follow()
    steps = 0
    while not table.refresh():
        assert table.is_behind
        assert table.revision < topology.revision(), "nothing half is told"
        steps += 1
    assert steps > 3
    assert check(table, topology, [f"x{number}" for number in range(20)]) == 0
    assert check(sharing.open(), topology) == 0


async def test_while_the_database_is_away_the_table_stays_and_says_since_when(
    topology: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topology.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME)
    sharing = Sharing(topology, tmp_path)
    await sharing.follow()
    monkeypatch.setattr(topology.owners, "since", _away)
    sharing.times.append(500.0)
    with pytest.raises(Unavailable):
        await sharing.feed.step()
    table = sharing.open()
    assert table.refresh()
    assert (table.owner_of("route", "a"), table.known_at) == (1, 100.0)


def _away(_: int) -> None:
    raise Unavailable("away")


async def test_another_history_ends_the_table_at_once(topology: Topology, tmp_path: Path) -> None:
    sharing = Sharing(topology, tmp_path)
    await sharing.follow()
    table = sharing.open()
    assert table.refresh()
    advance(topology._store, 20)
    await sharing.feed.step()
    assert not table.refresh()
    await sharing.follow()
    assert check(table, topology) == 0


async def test_a_full_disk_means_no_table_until_there_is_room(
    topology: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharing = Sharing(topology, tmp_path)
    await sharing.follow()
    table = sharing.open()
    topology.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME)
    with monkeypatch.context() as full:
        full.setattr(writer.OpenFile, "write", _full)
        await sharing.follow()
        assert not table.refresh()
        sharing.times.append(sharing.times[-1] + writer.RETRY_S)
        await sharing.follow()
        assert not table.refresh()
    sharing.times.append(sharing.times[-1] + writer.RETRY_S)
    await sharing.follow()
    assert check(table, topology, [*NAMES, "a"]) == 0


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


async def test_a_damaged_file_is_no_table(topology: Topology, tmp_path: Path) -> None:
    sharing = Sharing(topology, tmp_path)
    await sharing.follow()
    topology.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME)
    await sharing.follow()
    (file,) = sharing.files.glob("*.log")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert not sharing.open().refresh()
    (file,) = sharing.files.glob("*.base")
    file.write_bytes(file.read_bytes()[:40])
    assert not sharing.open().refresh()


def test_a_page_that_is_being_written_says_nothing(tmp_path: Path) -> None:
    old, new = (encode_state(State(1, n, n, 1.0, 0, bytes(16))) for n in (1, 77))
    for cut in range(1, len(new)):
        torn = new[:cut] + old[cut:]
        assert torn in (old, new) or decode_state(torn) is None
    page = create_page(tmp_path)
    page[: len(new)] = new[:20] + old[20:]
    table = open_shared(tmp_path)
    assert table is not None
    assert not table.refresh()


def test_no_server_shares_no_table(tmp_path: Path) -> None:
    assert open_shared(tmp_path) is None


async def test_a_server_that_stops_waits_for_a_copy(topology: Topology, tmp_path: Path) -> None:
    sharing = Sharing(topology, tmp_path)
    running = asyncio.create_task(sharing.feed.run())
    while sharing.feed.journal.base is None:
        await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.wait({running})
    assert sharing.shared._copying is None or sharing.shared._copying.done()
