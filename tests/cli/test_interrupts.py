"""Ctrl-C in a terminal, in the midst of long commands: a few lines, and nothing is left behind."""

from __future__ import annotations

import random
import signal
import socket
from pathlib import Path

import pytest

from control_plane.cli.interrupts import interruptible
from tests.cli.ctrl_c import SYSTEMS, WITH_API, environment, stopped_after
from tests.support.terminal import Terminal

SHOWS_CURSOR = "\x1b[?25h"
NOWHERE = "http://127.0.0.1:1"


@pytest.mark.parametrize("name", ["changes --watch", "claims import", "rules apply --wait"])
def test_ctrl_c_while_a_command_waits_for_an_answer(name: str, tmp_path: Path) -> None:
    long = WITH_API[name]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        env = environment(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with Terminal.running(long.command(tmp_path), env, tmp_path) as terminal:
            connection, _ = silent.accept()
            with connection:
                connection.recv(1)
                stopped = terminal.stop()
        assert long.fault(stopped) is None
        if name == "claims import":
            assert SHOWS_CURSOR in terminal.raw


def test_ctrl_c_while_a_system_starts_or_runs(tmp_path: Path) -> None:
    # Not the demo, which takes the usual ports.
    name = random.choice(["serve", "up", "envoy agent"])
    seconds = random.uniform(0, 5)
    stopped = stopped_after(SYSTEMS[name], seconds, tmp_path, NOWHERE)
    assert stopped is not None, f"{name} had ended by itself"
    assert SYSTEMS[name].fault(stopped) is None, f"{name} after {seconds} s"


def test_ctrl_c_is_an_exception_only_within_the_block() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt), interruptible():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_ignores_ctrl_c_goes_on_ignoring_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
