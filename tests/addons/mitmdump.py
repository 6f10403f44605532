"""Starts a real mitmdump with the addon, for tests."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.conditions import wait_until
from tests.support.ports import unused_port
from tests.support.system import System

ADDON = Path(__file__).parents[2] / "addons" / "cellway.py"
START_S = 30.0
END_S = 20.0


@dataclass(frozen=True, slots=True)
class Mitmdump:
    """A mitmdump that runs: its port, and what it logs."""

    port: int
    output: Path

    def lines(self) -> list[str]:
        """Return the addon's lines of the log."""
        return [line for line in self.output.read_text().splitlines() if "cellway: " in line]

    def line(self, text: str) -> str:
        """Wait for a line of the addon with this text, and return the last one."""
        wait_until(lambda: any(text in line for line in self.lines()))
        return next(line for line in reversed(self.lines()) if text in line)


def command(mode: str, directory: Path, *more: str) -> list[str]:
    """Return the command that runs mitmdump with the addon, in a mode, with more arguments."""
    return [
        str(Path(sys.executable).with_name("mitmdump")), "-s", str(ADDON),
        "--mode", mode, "--set", f"confdir={directory}", *more,
    ]  # fmt: skip


@contextmanager
def logging_mitmdump(
    mode: str, directory: Path, *more: str, **environment: str
) -> Iterator[Mitmdump]:
    """Run mitmdump in a mode (``regular``, ``reverse:…``) with more arguments."""
    port = unused_port()
    output = directory / f"mitmdump-{port}.log"
    with output.open("w") as file:
        process = subprocess.Popen(
            command(f"{mode}@{port}", directory, *more),
            cwd=directory,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
        )
    try:
        _until_listening(process, port, output)
        yield Mitmdump(port, output)
    finally:
        process.terminate()
        process.wait(END_S)


@contextmanager
def mitmdump(system: System, mode: str, directory: Path, *more: str) -> Iterator[int]:
    """Run mitmdump for a system's API, with defaults but for the arguments; yield its port."""
    with logging_mitmdump(mode, directory, *server_of(system), *more) as running:
        yield running.port


def server_of(system: System) -> list[str]:
    """Return the arguments that name a system's API."""
    return ["--set", f"cellway_server=http://127.0.0.1:{system.plane.ports.api}"]


def _until_listening(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert process.poll() is None, f"mitmdump ended: {output.read_text()}"
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        time.sleep(0.1)
    raise AssertionError("mitmdump did not come up")
