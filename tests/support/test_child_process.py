"""Programs that a test runs: what they print, how they fail, and that they are always ended."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.support.child_process import ChildFailed, ChildProcess


class Script(ChildProcess):
    """A Python program that is up when it has printed a line."""

    def __init__(self, directory: Path, source: str) -> None:
        super().__init__(directory / "script.log")
        self.start_timeout_s = 30.0
        self.end_timeout_s = 0.5
        self._source = source

    def command(self) -> list[str]:
        return [sys.executable, "-uc", self._source]

    def is_up(self) -> bool:
        return "up\n" in self.log_path.read_text()


SLEEPS = "import time; print('up'); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"


def test_a_program_that_ends_before_it_is_up_is_an_error_with_its_log(tmp_path: Path) -> None:
    script = Script(tmp_path, "raise SystemExit('no such file')")
    with pytest.raises(ChildFailed, match="Script ended before: up\nno such file"):
        script.start()
    assert not script.running


@pytest.mark.parametrize("source", [SLEEPS, DEAF], ids=["obedient", "deaf"])
def test_it_is_ended_with_the_test_whether_it_obeys_or_not(source: str, tmp_path: Path) -> None:
    with Script(tmp_path, source) as script:
        assert script.running
    assert not script.running


def test_it_starts_again_after_a_crash(tmp_path: Path) -> None:
    with Script(tmp_path, SLEEPS) as script:
        first = script.pid
        script.kill()
        script.start()
        assert script.pid != first


def test_a_program_runs_once_at_a_time(tmp_path: Path) -> None:
    with Script(tmp_path, SLEEPS) as script, pytest.raises(ChildFailed, match="running already"):
        script.start()


def test_the_exit_status_of_a_signal_is_returned(tmp_path: Path) -> None:
    with Script(tmp_path, SLEEPS) as script:
        script.signal(signal.SIGTERM)
        assert script.wait() == -signal.SIGTERM


def test_a_frozen_program_goes_on(tmp_path: Path) -> None:
    with Script(tmp_path, SLEEPS) as script:
        state = Path(f"/proc/{script.pid}/stat")
        with script.frozen():
            script.wait_until(lambda: state.read_text().split()[2] == "T", "stopped", 20)
        script.wait_until(lambda: state.read_text().split()[2] != "T", "running", 20)
