"""Imports the modules that it reads from standard input, and prints what that did besides.

A module that is imported may define things. It must not start threads or processes, open sockets,
write files, change the environment or print. Python's audit events tell; what other people's modules
do while they are imported does not count.

    echo control_plane.names | python -m tests.house.loading
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import os
import sys
from types import FrameType

from tests.house.sources import FOLDERS

_EFFECTS = {
    "_thread.start_joinable_thread": "starts a thread",
    "_thread.start_new_thread": "starts a thread",
    "os.fork": "starts a process",
    "os.forkpty": "starts a process",
    "os.mkdir": "makes a folder",
    "os.posix_spawn": "starts a process",
    "os.putenv": "changes the environment",
    "os.remove": "removes a file",
    "os.rename": "renames a file",
    "os.rmdir": "removes a folder",
    "os.system": "starts a process",
    "os.unsetenv": "changes the environment",
    "socket.bind": "opens a socket",
    "socket.connect": "opens a socket",
    "sqlite3.connect": "opens a database",
    "subprocess.Popen": "starts a process",
}
"""What Python's audit events say, by the event."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def main() -> None:
    """Print a JSON list of what happened: ``["control_plane.x starts a thread"]``."""
    effects: list[str] = []

    def note(event: str, arguments: tuple[object, ...]) -> None:
        effect = _EFFECTS.get(event)
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING:
            effect = "writes a file"
        module = _importing(sys._getframe(1)) if effect else None
        if module is not None:
            effects.append(f"{module} {effect}")

    names = sys.stdin.read().split()
    output = io.StringIO()
    sys.addaudithook(note)
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        for name in names:
            try:
                importlib.import_module(name)
            except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
                effects.append(f"{name}: {error!r}")
    if output.getvalue():
        effects.append(f"printed: {output.getvalue()!r}")
    if logging.root.handlers:
        effects.append(f"logging is set up: {logging.root.handlers}")
    print(json.dumps(effects))


def _importing(frame: FrameType | None) -> str | None:
    """Return the module of ours whose own code, run by its import, caused an event."""
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        if frame.f_code.co_name == "<module>":
            name: str = frame.f_globals["__name__"]
            return name if name.partition(".")[0] in FOLDERS else None
        frame = frame.f_back
    return None


if __name__ == "__main__":
    main()
