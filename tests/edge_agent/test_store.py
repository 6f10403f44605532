"""Snapshots on disk: what is damaged is passed over, what is newer stays."""

from __future__ import annotations

import contextlib
import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.edge_agent.store import (
    KEPT,
    BadSnapshot,
    DirectoryTaken,
    Kept,
    OlderRevision,
    SnapshotStore,
    decode,
    encode,
)
from control_plane.names import CDS, EDS, LDS, RDS
from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import Snapshot


def kept(revision: int, *names: str, body: bytes = b"") -> Kept:
    names = names or (f"cell:{revision}",)
    return Kept(Snapshot(revision, [Resource.of(CDS, name, body) for name in names]), "edge")


def names(found: Kept | None) -> set[str]:
    assert found is not None
    return set(found.snapshot.of_type(CDS))


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[SnapshotStore]:
    store = SnapshotStore(directory)
    try:
        store.load()
        yield store
    finally:
        store.close()


@given(
    st.integers(0, 2**63),
    st.text(min_size=1),
    st.dictionaries(
        st.tuples(st.sampled_from([CDS, EDS, LDS, RDS]), st.text(min_size=1)), st.binary()
    ),
)
def test_what_is_written_is_read(
    revision: int, group: str, bodies: dict[tuple[str, str], bytes]
) -> None:
    made = [Resource.of(type_url, name, body) for (type_url, name), body in bodies.items()]
    before = Kept(Snapshot(revision, made), group)
    after = decode(encode(before))
    assert (after.revision, after.group) == (revision, group)
    assert after.snapshot.same_content(before.snapshot)
    for one in made:
        assert after.snapshot.of_type(one.type_url)[one.name] == one


@given(st.data())
def test_any_damage_is_found(data: st.DataObject) -> None:
    content = encode(kept(7, "cell:a", "cell:b", body=b"some bytes"))
    payload = content.index(b"\n") + 1
    cut = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(BadSnapshot):
        decode(content[:cut])
    at = data.draw(st.integers(payload, len(content) - 1))
    other = content[at] ^ data.draw(st.integers(1, 255))
    with pytest.raises(BadSnapshot, match="checksum"):
        decode(content[:at] + bytes([other]) + content[at + 1 :])


def with_header(content: bytes, **changed: object) -> bytes:
    line, _, payload = content.partition(b"\n")
    return json.dumps(json.loads(line) | changed).encode() + b"\n" + payload


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"schema": 0}, "its schema is 0; this agent reads 1"),
        ({"schema": 2}, "its schema is 2"),
        ({"revision": 8}, "another snapshot"),
        ({"group": None}, "another snapshot"),
        ({"sha256": "00"}, "checksum"),
    ],
)
def test_a_header_that_does_not_fit_says_why(changed: dict[str, object], why: str) -> None:
    with pytest.raises(BadSnapshot, match=why):
        decode(with_header(encode(kept(7)), **changed))


def test_a_header_may_hold_what_a_later_agent_adds() -> None:
    assert decode(with_header(encode(kept(7)), later="x")).revision == 7


def test_nothing_there(tmp_path: Path) -> None:
    with opened(tmp_path / "new" / "dir") as store:
        assert (store.newest, store.bad) == (None, {})


def test_the_newest_are_kept_and_an_older_revision_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for revision in (9, 10, 11, 11, 100):
            store.save(kept(revision, f"cell:{revision}"))
        with pytest.raises(OlderRevision, match="99 is older than 100"):
            store.save(kept(99))
    with opened(tmp_path) as store:
        assert names(store.newest) == {"cell:100"}
        assert len(list(tmp_path.glob("*.snapshot"))) == KEPT
        # Also by one that has just started.
        with pytest.raises(OlderRevision):
            store.save(kept(99))


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty", "older schema", "unreadable"])
def test_a_bad_newest_falls_back_to_the_one_before_loudly(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as store:
        store.save(kept(1))
        store.save(kept(2))
        path = store.save(kept(3))
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
        store.save(kept(3))
        assert path.exists() == (damage == "unreadable")
    with opened(tmp_path) as store:
        assert (names(store.newest), store.bad) == ({"cell:3"}, {})


def test_all_bad_is_none_at_all(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        paths = [store.save(kept(revision)) for revision in (1, 2, 3)]
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
        store.save(kept(1))
        with full_disk(100), pytest.raises(OSError, match="too large"):
            store.save(kept(2, body=b"x" * 1000))
        assert store.newest is not None
        assert store.newest.revision == 1
        assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".new")] == []
        store.save(kept(2))
    with opened(tmp_path) as store:
        assert names(store.newest) == {"cell:2"}


def test_what_a_crash_left_unfinished_is_not_read_and_goes(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        unfinished = tmp_path / f"{9:020}-{9:06}.snapshot.new"
        unfinished.write_bytes(encode(kept(9)))
        assert store.load() is None
        store.save(kept(1))
        assert not unfinished.exists()


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "snapshots"
    with opened(directory) as store:
        path = store.save(kept(1))
    assert (directory.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_directory_is_one_agents(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(DirectoryTaken, match="another agent uses"):
        SnapshotStore(tmp_path)
    with opened(tmp_path):
        pass
