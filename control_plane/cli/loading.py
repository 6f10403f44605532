"""Loads a program where Ctrl-C ends it without a word.

Python turns SIGINT into KeyboardInterrupt, wherever it happens to be. While modules are loaded,
which takes most commands longer than all the rest, that is a traceback of many lines. So
``cellway`` begins with the system's own way: SIGINT ends the process, and a shell sees the status
130. Where something has to be put in order first, `control_plane.cli.interrupts` gives
KeyboardInterrupt back.

This module imports as little as it can: until it has run, Python's way holds.
"""

import importlib
import signal
from types import ModuleType


def load(module: str) -> ModuleType:
    """Import a module of a program that begins; from now on, Ctrl-C ends the process.

    What was started with SIGINT ignored (``nohup``, or ``&`` in a script) goes on ignoring it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    return importlib.import_module(module)
