"""The table of owners beside an Envoy: relayed, kept on disk, and served when all else is away."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from control_plane.edge_agent import map_store, map_upstream
from control_plane.edge_agent.agent import AgentSettings, RunningAgent, running
from control_plane.edge_agent.map_service import MAX_READERS
from control_plane.owners import stored_frames
from control_plane.owners.frames import (
    AGENT_DISK,
    AGENT_LIVE,
    CONTROL_PLANE,
    CUT_OFF,
    MAX_RECORDS,
)
from control_plane.process.listening import free_port
from tests.owners.servers import Client, Plane
from tests.owners.tables import KEY_ID, TABLE, Reader, base, journal
from tests.support.conditions import until

OWNERS = {h: 1 + h % 5 for h in range(2 * MAX_RECORDS + 10)}
NODE = "envoy-1"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_store, "INTERVAL_S", 0.01)
    monkeypatch.setattr(map_store, "RETRY_S", 0.01)
    monkeypatch.setattr(map_upstream, "LONGEST_PAUSE_S", 0.1)
    monkeypatch.setattr(map_upstream, "UNKNOWN_PAUSE_S", 0.1)
    monkeypatch.setattr(map_upstream, "TELL_S", 0.01)


@contextlib.asynccontextmanager
async def agent_of(port: int, directory: Path) -> AsyncIterator[RunningAgent]:
    settings = AgentSettings(f"127.0.0.1:{port}", directory / "agent", node_id=NODE)
    async with running(settings) as agent:
        yield agent


def metric(agent: RunningAgent, name: str) -> float | None:
    return agent.metrics.registry.get_sample_value(f"cellway_agent_map_{name}")


async def saved(agent: RunningAgent, revision: int) -> None:
    """Wait until the table is on disk up to a revision."""
    await until(lambda: (metric(agent, "saved_revision") or 0) >= revision)


async def keep(directory: Path, revision: int = 13) -> Reader:
    """Leave a table on disk, and return that of an Envoy that has read it."""
    async with (
        Plane(journal(OWNERS, 12)).running() as plane,
        agent_of(plane.port, directory) as agent,
        Client(agent.address) as envoy,
    ):
        await envoy.until_revision(12)
        plane.put(revision, (7, 9))
        await envoy.until_revision(revision)
        await saved(agent, revision)
        return envoy.reader


async def test_a_table_and_its_changes_are_passed_on_and_kept(tmp_path: Path) -> None:
    reader = await keep(tmp_path)
    assert reader.owners == OWNERS | {7: 9}
    assert (tmp_path / "agent" / map_store.FILE).stat().st_mode & 0o777 == 0o600


async def test_without_a_reader_and_a_file_nothing_is_asked_for(tmp_path: Path) -> None:
    async with (
        Plane(journal(OWNERS, 12)).running() as plane,
        agent_of(plane.port, tmp_path) as agent,
    ):
        await until(lambda: metric(agent, "live") == 0)
        assert plane.follows == 0
        async with Client(agent.address) as envoy:
            await envoy.until_revision(12)
        assert plane.follows == 1


async def test_without_a_control_plane_the_disk_serves_and_says_so(tmp_path: Path) -> None:
    await keep(tmp_path)
    async with (
        agent_of(free_port(), tmp_path) as agent,
        Client(agent.address) as envoy,
    ):
        await envoy.until_beat(CUT_OFF)
        assert (envoy.reader.owners, envoy.reader.revision) == (OWNERS | {7: 9}, 13)
        assert envoy.reader.beats[-1].age_ms == 0xFFFFFFFF, "what is unknown here may be known"
        assert metric(agent, "live") == 0


async def test_a_restarted_agent_goes_on_from_its_disk(tmp_path: Path) -> None:
    reader = await keep(tmp_path)
    later = journal(OWNERS, 12)
    later.append(13, [(7, 9)])
    later.append(14, [(8, 9)])
    later.seal()
    port = free_port()
    async with agent_of(port, tmp_path) as agent, Client(agent.address, reader) as envoy:
        await envoy.until_beat(CUT_OFF)
        async with Plane(later).running(port):
            await envoy.until_revision(14)
            await envoy.until_beat()
            assert metric(agent, "live") == 1
        await envoy.until_beat(CUT_OFF)
    assert (reader.owners[8], reader.begun) == (9, 1)


async def test_silent_revisions_are_kept_because_epochs_may_ask_for_them(tmp_path: Path) -> None:
    plane = Plane(journal(OWNERS, 12))
    async with (
        plane.running(),
        agent_of(plane.port, tmp_path) as agent,
        Client(agent.address) as envoy,
    ):
        await envoy.until_revision(12)
        plane.journal.advance(40)
        await saved(agent, 40)
    async with agent_of(free_port(), tmp_path) as agent, Client(agent.address) as envoy:
        await envoy.until_revision(40)


async def test_an_older_replica_does_not_take_the_table_back(tmp_path: Path) -> None:
    reader = await keep(tmp_path)
    async with (
        Plane(journal({1: 1}, 5)).running() as plane,
        agent_of(plane.port, tmp_path) as agent,
        Client(agent.address, reader) as envoy,
    ):
        await envoy.until_beat(CUT_OFF)
        await envoy.tell(CONTROL_PLANE)
        await until(lambda: bool(plane.told))
        assert (plane.told[0].source, plane.told[0].revision) == (AGENT_DISK, 13)
        plane.put(14, (1, 2))
        await envoy.until_revision(14)
    assert (reader.owners[7], reader.begun) == (9, 1)


async def test_a_control_plane_without_the_stream_leaves_the_table_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await keep(tmp_path)
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with agent_of(port, tmp_path) as agent, Client(agent.address) as envoy:
        await envoy.until_revision(13)
        await until(lambda: (metric(agent, "stream_restarts_total") or 0) >= 2)
        assert envoy.reader.owners == OWNERS | {7: 9}
        await server.stop(None)
    warnings = [one for one in caplog.messages if "UNIMPLEMENTED" in one]
    assert len(warnings) == 1, "it is said once"


async def test_another_lineage_replaces_the_table_whatever_its_revision_is(tmp_path: Path) -> None:
    reader = await keep(tmp_path)
    restored = journal({}, 1)
    restored.begin(base({5: 5}, 3, table=TABLE + 1))
    async with (
        Plane(restored).running() as plane,
        agent_of(plane.port, tmp_path) as agent,
        Client(agent.address, reader) as envoy,
    ):
        await until(lambda: metric(agent, "names") == 1)
        await envoy.until_beat()
        assert (reader.table, reader.owners, reader.revision) == (TABLE + 1, {5: 5}, 3)


async def test_what_an_envoy_has_is_told_with_its_source(tmp_path: Path) -> None:
    async with (
        Plane(journal(OWNERS, 12)).running() as plane,
        agent_of(plane.port, tmp_path) as agent,
        Client(agent.address) as envoy,
    ):
        await envoy.until_revision(12)
        await envoy.tell(CONTROL_PLANE)
        await until(lambda: bool(plane.told))
        told = plane.told[0]
        assert (told.node_id, told.source, told.revision) == (NODE, AGENT_LIVE, 12)
        assert told.names == len(OWNERS)


async def test_a_new_key_brings_a_new_table_and_ends_the_streams_of_the_old(tmp_path: Path) -> None:
    reader = await keep(tmp_path)
    renewed = journal({}, 1)
    renewed.begin(base({5: 5}, 20, key_id=KEY_ID + 1))
    async with (
        Plane(renewed).running() as plane,
        agent_of(plane.port, tmp_path) as agent,
    ):
        await until(lambda: metric(agent, "names") == 1)
        async with Client(agent.address, reader) as envoy:
            with pytest.raises(grpc.aio.AioRpcError, match="of another key"):
                await envoy.until_revision(99)
        async with Client(agent.address, Reader(KEY_ID + 1)) as envoy:
            await envoy.until_revision(20)


@pytest.mark.parametrize("at", [0, 20, 60, 100_000, -30])
async def test_a_damaged_file_is_asked_for_anew(tmp_path: Path, at: int) -> None:
    await keep(tmp_path)
    path = tmp_path / "agent" / map_store.FILE
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)
    current = journal(OWNERS, 12)
    current.append(13, [(7, 9)])
    current.seal()
    async with (
        Plane(current).running() as plane,
        agent_of(plane.port, tmp_path) as agent,
        Client(agent.address) as envoy,
    ):
        await envoy.until_revision(13)
        assert envoy.reader.owners == OWNERS | {7: 9}
        torn = metric(agent, "torn_bytes")
        assert (metric(agent, "damaged_total"), bool(torn)) == ((0, True) if at < 0 else (1, False))


async def test_a_base_that_is_damaged_while_it_is_served_is_asked_for_anew(tmp_path: Path) -> None:
    async with (
        Plane(journal(OWNERS, 12)).running() as plane,
        agent_of(plane.port, tmp_path) as agent,
    ):
        async with Client(agent.address) as envoy:
            await envoy.until_revision(12)
        with (tmp_path / "agent" / map_store.FILE).open("r+b") as file:
            file.seek(70_000)
            file.write(b"damage")
        async with Client(agent.address) as envoy:
            with pytest.raises(grpc.aio.AioRpcError, match="damaged"):
                await envoy.until_revision(12)
        await until(lambda: agent.owners.journal.lineages == 2)
        assert (plane.follows, metric(agent, "damaged_total")) == (2, 1)
        async with Client(agent.address) as envoy:
            await envoy.until_revision(12)


async def test_a_full_disk_is_told_and_harms_no_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    plane = Plane(journal(OWNERS, 12))
    async with (
        plane.running(),
        agent_of(plane.port, tmp_path) as agent,
        Client(agent.address) as envoy,
    ):
        with monkeypatch.context() as patch:
            patch.setattr(stored_frames.OpenFile, "write", full)
            patch.setattr(map_store.MapStore, "_check_space", full)
            await envoy.until_revision(12)
            plane.put(13, (7, 9))
            await envoy.until_revision(13)
            await until(lambda: metric(agent, "unsaved") == 1)
            await until(lambda: (metric(agent, "save_failures_total") or 0) > 3)
            assert envoy.reader.owners == OWNERS | {7: 9}
            texts = [one for one in caplog.messages if "can't be written" in one]
            assert len(texts) == 1, "it is said once"
        await saved(agent, 13)
        assert metric(agent, "unsaved") == 0
    async with agent_of(free_port(), tmp_path) as agent, Client(agent.address) as envoy:
        await envoy.until_revision(13)
        assert envoy.reader.owners == OWNERS | {7: 9}


async def test_a_disk_that_fills_up_while_changes_come_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    plane = Plane(journal({1: 1}, 12))
    async with (
        plane.running(),
        agent_of(plane.port, tmp_path) as agent,
        Client(agent.address) as envoy,
    ):
        await envoy.until_revision(12)
        await saved(agent, 12)
        with monkeypatch.context() as patch:
            patch.setattr("control_plane.owners.journal_file.JournalFile.append", full)
            for revision in range(13, 20):
                plane.put(revision, (revision, 2))
            await envoy.until_revision(19)
            await until(lambda: metric(agent, "unsaved") == 1)
        await saved(agent, 19)
    async with agent_of(free_port(), tmp_path) as agent, Client(agent.address) as envoy:
        await envoy.until_revision(19)
        assert envoy.reader.owners == {1: 1} | dict.fromkeys(range(13, 20), 2)


async def test_many_changes_become_a_new_base_while_more_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_store, "RENEW_AT_BYTES", 3_000)
    plane = Plane(journal(OWNERS, 12))
    async with plane.running(), agent_of(plane.port, tmp_path) as agent:
        async with Client(agent.address) as envoy:
            await envoy.until_revision(12)
            for revision in range(13, 200):
                plane.put(revision, (revision, revision), (revision + 20_000, 1))
                await envoy.until_revision(revision)
            expected = OWNERS | {r: r for r in range(13, 200)}
            expected |= {r + 20_000: 1 for r in range(13, 200)}
            assert (envoy.reader.owners, envoy.reader.begun) == (expected, 1)
            await until(lambda: agent.owners.journal.bases >= 2)
            await saved(agent, 199)
        async with Client(agent.address) as envoy:
            await envoy.until_revision(199)
            assert envoy.reader.owners == expected
    assert [one.name for one in (tmp_path / "agent").glob("owners*")] == [map_store.FILE]
    async with agent_of(free_port(), tmp_path) as agent, Client(agent.address) as envoy:
        await envoy.until_revision(199)
        assert envoy.reader.owners == expected


async def test_readers_are_those_of_the_agents_envoy_and_not_too_many(tmp_path: Path) -> None:
    async with (
        Plane(journal({1: 1}, 12)).running() as plane,
        agent_of(plane.port, tmp_path) as agent,
        contextlib.AsyncExitStack() as stack,
    ):
        stranger = Client(agent.address, node_id="another")
        async with stranger:
            with pytest.raises(grpc.aio.AioRpcError, match="not 'another'"):
                await stranger.until_revision(12)
        await until(lambda: metric(agent, "readers") == 0)
        for _ in range(MAX_READERS):
            envoy = await stack.enter_async_context(Client(agent.address))
            await envoy.until_revision(12)
        # It is refused before it has said anything, so gRPC may fail to tell it why.
        with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
            async with Client(agent.address) as ninth:
                await ninth.until_revision(12)
        assert metric(agent, "refused_total") == 2
        assert metric(agent, "readers") == MAX_READERS
