"""Snapshots on disk: what is damaged is passed over, what is newer stays."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.edge_agent.saved_snapshot import SavedSnapshot, encode
from control_plane.edge_agent.store import (
    GOOD_FILES,
    DirectoryTaken,
    OlderRevision,
    SnapshotStore,
)
from control_plane.names import CDS
from tests.edge_agent.snapshot_files import saved, with_header


def names(snapshot: SavedSnapshot | None) -> set[str]:
    assert snapshot is not None
    return set(snapshot.snapshot.of_type(CDS))


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[SnapshotStore]:
    store = SnapshotStore(directory)
    try:
        store.load()
        yield store
    finally:
        store.close()


def test_nothing_there(tmp_path: Path) -> None:
    with opened(tmp_path / "new" / "dir") as store:
        assert (store.newest, store.bad) == (None, {})


def test_the_newest_are_kept_and_an_older_revision_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for revision in (9, 10, 11, 11, 100):
            store.save(saved(revision, f"cell:{revision}"))
        with pytest.raises(OlderRevision, match="99 is older than 100"):
            store.save(saved(99))
    with opened(tmp_path) as store:
        assert names(store.newest) == {"cell:100"}
        assert len(list(tmp_path.glob("*.snapshot"))) == GOOD_FILES
        # Also by one that has just started.
        with pytest.raises(OlderRevision):
            store.save(saved(99))


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty", "older schema", "unreadable"])
def test_a_bad_newest_falls_back_to_the_one_before_loudly(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as store:
        store.save(saved(1))
        store.save(saved(2))
        path = store.save(saved(3))
    content = path.read_bytes()
    match damage:
        case "truncated":
            path.write_bytes(content[:-1])
        case "altered":
            path.write_bytes(content[:-1] + b"!")
        case "empty":
            path.write_bytes(b"")
        case "older schema":
            path.write_bytes(with_header(content, schema=0))
        case _:
            path.unlink()
            path.mkdir()
    with opened(tmp_path) as store:
        assert names(store.newest) == {"cell:2"}
        assert list(store.bad) == [path]
        assert f"{path} can't be used" in caplog.text
        # The damaged revision may come again, and the file goes when there is better.
        store.save(saved(3))
        assert path.exists() == (damage == "unreadable")
    with opened(tmp_path) as store:
        assert (names(store.newest), store.bad) == ({"cell:3"}, {})


def test_all_bad_is_none_at_all(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        paths = [store.save(saved(revision)) for revision in (1, 2, 3)]
    for path in paths:
        path.write_bytes(b"{}")
    with opened(tmp_path) as store:
        assert store.newest is None
        assert len(store.bad) == 3


@contextlib.contextmanager
def full_disk(free_bytes: int) -> Iterator[None]:
    """Files can't grow beyond this (EFBIG stands in for ENOSPC: both are OSErrors of write)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_what_there_was(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.save(saved(1))
        with full_disk(100), pytest.raises(OSError, match="too large"):
            store.save(saved(2, body=b"x" * 1000))
        assert store.newest is not None
        assert store.newest.revision == 1
        assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".new")] == []
        store.save(saved(2))
    with opened(tmp_path) as store:
        assert names(store.newest) == {"cell:2"}


def test_what_a_crash_left_unfinished_is_not_read_and_goes(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        unfinished = tmp_path / f"{9:020}-{9:06}.snapshot.new"
        unfinished.write_bytes(encode(saved(9)))
        assert store.load() is None
        store.save(saved(1))
        assert not unfinished.exists()


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "snapshots"
    with opened(directory) as store:
        path = store.save(saved(1))
    assert (directory.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_directory_is_one_agents(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(DirectoryTaken, match="another agent uses"):
        SnapshotStore(tmp_path)
    with opened(tmp_path):
        pass
