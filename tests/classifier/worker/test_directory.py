"""A server's directory lives as long as it does, and what killed servers left is swept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from control_plane.classifier.worker.directory import note_worker, orphans, worker_directory


def test_what_a_killed_server_left_is_swept_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    abandoned = tmp_path / "classifier-workers" / "abandoned"
    abandoned.mkdir(parents=True)
    (abandoned / "counter_0.db").write_bytes(b"x")
    with worker_directory(tmp_path) as first, worker_directory(tmp_path) as second:
        assert not abandoned.exists()
        assert first.is_dir()
        assert second.is_dir()
        assert first != second
    assert not first.exists()


@pytest.mark.parametrize(
    "module", ["control_plane.classifier.worker.main", "control_plane.classifier_worker"]
)
def test_a_worker_that_a_killed_server_left_is_known_also_of_an_older_version(
    tmp_path: Path, module: str
) -> None:
    abandoned = tmp_path / "classifier-workers" / "abandoned"
    abandoned.mkdir(parents=True)
    script = "import sys; print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, module]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        note_worker(abandoned, 0, worker.pid)
        assert orphans(abandoned) == [worker.pid]
        worker.terminate()


def test_a_process_number_that_is_anothers_by_now_is_no_orphan(tmp_path: Path) -> None:
    note_worker(tmp_path, 0, os.getpid())
    note_worker(tmp_path, 1, 2**22 + 1)
    assert orphans(tmp_path) == []
