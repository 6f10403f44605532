"""Ctrl-C while a program is loaded: no traceback, and the status of an interrupted command."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.ctrl_c import CELLWAY, INTERRUPTED, ROOT, SYSTEMS, WITH_API, Long, stopped_after

LOADING_S = 0.25
"""Every program needs longer to load its modules."""


@pytest.mark.parametrize("long", [WITH_API["fleet status"], SYSTEMS["demo"]], ids=["cli", "demo"])
@pytest.mark.parametrize("earliest", [0.0, LOADING_S / 2])
def test_ctrl_c_while_modules_are_loaded(long: Long, earliest: float, tmp_path: Path) -> None:
    seconds = random.uniform(earliest, earliest + LOADING_S / 2)
    stopped = stopped_after(long, seconds, tmp_path, "http://127.0.0.1:1")
    assert stopped is not None
    assert long.fault(stopped) is None
    assert stopped.status in INTERRUPTED
    assert stopped.said.strip() == "^C"


def test_what_is_started_with_sigint_ignored_goes_on_ignoring_it() -> None:
    program = "import signal; from control_plane.cli.loading import load; load('control_plane')"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; print(signal.getsignal(signal.SIGINT))"],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN) and None,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(signal.SIG_IGN.value)


def test_the_command_of_an_installation_is_the_module_that_is_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "control_plane.cli", "--version"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("cellway ")
    assert "control_plane.cli.__main__" in CELLWAY
