"""Starts a real mitmdump with the addon, for tests."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import unused_port
from tests.support.system import System

ADDON = Path(__file__).parents[2] / "addons" / "cellway.py"
START_S = 30.0
END_S = 20.0


@contextmanager
def mitmdump(system: System, mode: str, directory: Path, *more: str) -> Iterator[int]:
    """Run mitmdump in a mode (``regular``, ``reverse:…``) with more arguments; yield its port."""
    port = unused_port()
    command = [
        str(Path(sys.executable).with_name("mitmdump")), "-q", "-s", str(ADDON),
        "--mode", f"{mode}@{port}", "--set", f"confdir={directory}",
        "--set", f"cellway_server=http://127.0.0.1:{system.plane.ports.api}",
        "--set", "connection_strategy=lazy", "--set", "keep_host_header=true", *more,
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=directory)
    try:
        _until_listening(process, port)
        yield port
    finally:
        process.terminate()
        process.wait(END_S)


def _until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert process.poll() is None, "mitmdump ended"
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        time.sleep(0.1)
    raise AssertionError("mitmdump did not come up")
