"""A journal on disk: what is whole is loaded, what is torn is dropped, what is damaged is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.owners.base import begin_frame
from control_plane.owners.frames import MAX_RECORDS, BadFrame
from control_plane.owners.journal import Journal
from control_plane.owners.journal_file import BadJournalFile, JournalFile, Loaded, load
from control_plane.owners.stored_frames import DamagedFile, Spool
from tests.owners.tables import KEY_ID, TABLE, Reader, base, journal

OWNERS = dict.fromkeys(range(100, 100 + MAX_RECORDS + 3), 4)


def write(path: Path, one: Journal) -> JournalFile:
    """Write a journal to a file as an agent does."""
    assert one.base is not None
    spool = Spool(path, ".new")
    for frame in one.base.frames:
        spool.add(frame, (len(frame) - 32) // 12)
    file = spool.commit(begin_frame(TABLE, KEY_ID, one.base.revision, spool.names))
    assert file is not None
    whole = JournalFile(file, spool.end)
    whole.append(one.since_base())
    return whole


def example() -> Journal:
    """Return a journal of a base at 10, the changes of 11 and 12, and a group of two frames at 20."""
    one = journal(OWNERS, 10)
    for revision in (11, 12):
        one.append(revision, [(revision, 7)])
        one.seal()
    one.append(20, [(h, 9) for h in range(MAX_RECORDS + 1)])
    one.seal()
    return one


def read(loaded: Loaded) -> Reader:
    """Return the table of a file."""
    reader = Reader()
    reader.take_all([loaded.base.begin(), *loaded.base.frames])
    reader.take_all(data for data, _ in loaded.changes)
    return reader


def loaded(path: Path) -> Loaded:
    one = load(path)
    assert one is not None
    return one


def test_no_file_is_no_error(tmp_path: Path) -> None:
    assert load(tmp_path / "none") is None


def test_what_was_written_is_loaded_and_added_to(tmp_path: Path) -> None:
    path = tmp_path / "owners.map"
    write(path, example())
    one = loaded(path)
    assert (one.base.names, one.base.revision, one.dropped_bytes) == (len(OWNERS), 10, 0)
    reader = read(one)
    assert reader.revision == 20
    assert reader.owners == OWNERS | dict.fromkeys(range(MAX_RECORDS + 1), 9)
    more = example()
    more.append(21, [(1, 5)])
    more.seal()
    one.file.append(more.since_base()[-1:])
    assert read(loaded(path)).owners[1] == 5


def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        write(tmp_path / "owners.map", example())
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "owners.map").stat().st_mode) == 0o600


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What the example has on disk."""
    path = tmp_path_factory.mktemp("whole") / "owners.map"
    write(path, example())
    return path.read_bytes()


BASE_END = 48 + 32 + 12 * MAX_RECORDS + 32 + 12 * 3
AFTER_11, AFTER_12 = BASE_END + 44, BASE_END + 88
CLASSES = {
    "the header of BEGIN": (0, 32),
    "the key id": (32, 40),
    "the number of names": (40, 48),
    "the header of a base frame": (48, 80),
    "the records of the base": (80, 80 + 12 * MAX_RECORDS),
    "the last base frame": (80 + 12 * MAX_RECORDS, BASE_END),
    "the first change": (BASE_END, AFTER_11),
    "the second change": (AFTER_11, AFTER_12),
    "the first part of a group": (AFTER_12, AFTER_12 + 32 + 12 * MAX_RECORDS),
}


def revision_that_is_left(at: int) -> int | None:
    """Return the revision of a table whose file is good up to a byte; None: nothing is left."""
    if at < BASE_END:
        return None
    return 10 if at < AFTER_11 else 11 if at < AFTER_12 else 12


@pytest.mark.parametrize("where", CLASSES)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_a_damaged_byte_costs_what_is_behind_it_and_nothing_is_believed(
    content: bytes, tmp_path_factory: pytest.TempPathFactory, where: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(CLASSES[where][0], CLASSES[where][1] - 1))
    bad = bytearray(content)
    bad[at] ^= data.draw(st.integers(1, 255))
    check_damaged(tmp_path_factory.mktemp("bad") / "owners.map", bytes(bad), at)


@pytest.mark.parametrize("where", CLASSES)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_a_file_that_ends_early_or_in_zeros_is_that_of_an_earlier_revision(
    content: bytes, tmp_path_factory: pytest.TempPathFactory, where: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(CLASSES[where][0], CLASSES[where][1] - 1))
    tail = data.draw(st.sampled_from((b"", bytes(5000))))
    # A byte that was zero anyway is not torn.
    torn = at if not tail else next((i for i in range(at, len(content)) if content[i]), at)
    check_damaged(tmp_path_factory.mktemp("bad") / "owners.map", content[:at] + tail, torn)


def check_damaged(path: Path, bad: bytes, at: int) -> None:
    """Assert that a file is only believed up to a byte."""
    path.write_bytes(bad)
    revision = revision_that_is_left(at)
    if revision is None:
        with pytest.raises(BadJournalFile, match=r"byte \d+: "):
            load(path)
        return
    one = loaded(path)
    assert read(one).revision == revision
    assert path.stat().st_size == len(bad) - one.dropped_bytes
    assert loaded(path).dropped_bytes == 0


def test_a_whole_group_counts_and_a_part_of_one_does_not(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "owners.map"
    path.write_bytes(content[:-1])
    one = loaded(path)
    assert (read(one).revision, len(one.changes)) == (12, 2)


def test_frames_of_another_table_or_of_an_older_revision_end_the_file(
    content: bytes, tmp_path: Path
) -> None:
    other = journal({}, 30)
    other.begin(base({}, 30, table=TABLE + 1))
    other.append(31, [(1, 1)])
    other.seal()
    for strange in (other.since_base()[0], content[AFTER_11 : AFTER_11 + 44]):
        path = tmp_path / "owners.map"
        path.write_bytes(content + strange)
        assert read(loaded(path)).revision == 20
        assert path.stat().st_size == len(content)


def test_a_base_of_parts_that_do_not_belong_together_is_refused(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "owners.map"
    for wrong in (content[48:], content[:48] + base({1: 1}, 11).frames[0], content[:48] * 2):
        path.write_bytes(wrong)
        with pytest.raises(BadJournalFile):
            load(path)


def test_a_base_that_the_disk_does_not_take_is_in_memory_and_the_file_stays(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "owners.map"
    path.write_bytes(content)
    frames = example().base
    assert frames is not None
    for number in range(len(frames.frames) + 1):
        spool = Spool(path, ".new")
        for index, frame in enumerate(frames.frames):
            if index == number:
                fill(spool)
            spool.add(frame, 1)
        if number == len(frames.frames):
            fill(spool)
        assert spool.commit(frames.begin()) is None
        assert spool.error is not None
        assert list(spool.frames) == list(frames.frames)
        assert [one.name for one in tmp_path.iterdir()] == ["owners.map"]
        assert path.read_bytes() == content


def fill(spool: Spool) -> None:
    """Let all further writes fail, as on a full disk."""

    def write(data: bytes, offset: int) -> None:
        raise OSError(28, f"no space left for {len(data)} bytes at {offset}")

    assert spool._file is not None
    spool._file.write = write  # type: ignore[method-assign]


def test_a_directory_that_takes_no_file_is_no_error_either(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "missing" / "owners.map", ".new")
    spool.add(base({1: 1}, 1).frames[0], 1)
    assert spool.commit(base({1: 1}, 1).begin()) is None
    assert list(spool.frames) == list(base({1: 1}, 1).frames)


def test_a_base_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.owners.stored_frames.MAX_BASE_BYTES", 100)
    spool = Spool(tmp_path / "owners.map", ".new")
    spool.add(base({1: 1}, 1).frames[0], 1)
    with pytest.raises(BadFrame, match="over 100 bytes"):
        spool.add(base({1: 1}, 1).frames[0], 1)


def test_a_frame_that_the_disk_has_lost_since_is_not_served(tmp_path: Path) -> None:
    path = tmp_path / "owners.map"
    write(path, example())
    frames = loaded(path).base.frames
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"damage")
    with pytest.raises(DamagedFile):
        frames[0]
    assert len(frames[1]) == 32 + 3 * 12


def test_a_file_that_was_replaced_is_read_by_those_who_have_it(tmp_path: Path) -> None:
    path = tmp_path / "owners.map"
    write(path, example())
    before = loaded(path).base.frames
    write(path, journal({1: 1}, 40))
    assert list(before) == list(base(OWNERS, 10).frames)
    assert read(loaded(path)).owners == {1: 1}


def test_a_failed_addition_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "owners.map"
    one = write(path, journal({1: 1}, 40))
    more = journal({1: 1}, 40)
    more.append(41, [(2, 2)])
    more.seal()
    with monkeypatch.context() as patch:

        def full(_: int) -> None:
            raise OSError(28, "no space left on device")

        patch.setattr(os, "fdatasync", full)
        with pytest.raises(OSError, match="no space"):
            one.append(more.since_base())
    assert read(loaded(path)).revision == 40
    one.append(more.since_base())
    assert read(loaded(path)).revision == 41
