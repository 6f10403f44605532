"""Directories that hold sockets are ours alone, or they are not used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from control_plane.process import private_files
from control_plane.process.private_files import (
    only_private_files,
    private_directory,
    private_file,
    tighten,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_directories_and_files_are_made_private_and_those_that_exist_become_so(
    tmp_path: Path,
) -> None:
    for wide in (False, True):
        directory, file = tmp_path / f"d{wide}", tmp_path / f"f{wide}"
        if wide:
            directory.mkdir()
            directory.chmod(0o777)
            file.write_text("kept")
            file.chmod(0o666)
        private_directory(directory)
        private_file(file)
        assert (mode(directory), mode(file)) == (0o700, 0o600)
        assert file.read_text() == "kept" * wide


def test_the_umask_is_put_back(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with only_private_files():
            (tmp_path / "private").touch()
        (tmp_path / "open").touch()
    finally:
        os.umask(before)
    assert (mode(tmp_path / "private"), mode(tmp_path / "open")) == (0o600, 0o666)


def test_a_directory_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_files.os, "geteuid", lambda: 12345)
    with pytest.raises(OSError, match="belongs to another user"):
        private_directory(tmp_path)


def test_what_is_no_file_keeps_its_rights(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    tighten(pipe)
    assert mode(pipe) == 0o666
