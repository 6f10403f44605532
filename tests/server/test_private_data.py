"""Files that an earlier run has left open to others are tightened at the start."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from control_plane.server.private_data import tighten_files
from control_plane.settings import Settings


def test_what_an_earlier_run_has_left_open_is_tightened_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["c.db", "c.db-wal", "c.db-shm", "c.db.sequence-mark.json", "archive.ndjson"]
    for name in names:
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o644)
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/c.db", changes_archive=tmp_path / "archive.ndjson"
    )
    tighten_files(settings)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names} == {0o600}
    assert all(f"others could read {tmp_path / name} (mode 644)" in caplog.text for name in names)
    caplog.clear()
    tighten_files(settings)
    tighten_files(Settings(database_url="postgresql://nowhere/x", data_dir=tmp_path / "none"))
    assert not caplog.text


def test_a_directory_that_is_given_for_the_database_keeps_its_rights(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    tighten_files(Settings(database_url=f"sqlite:///{shared}"))
    assert stat.S_IMODE(shared.stat().st_mode) == 0o777
