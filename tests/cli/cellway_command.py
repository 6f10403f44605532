"""The ``cellway`` command in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys


class Cellway:
    """Runs the command as a user would."""

    def __init__(self, server: str, **environment: str) -> None:
        self._environment = os.environ | {"CELLWAY_SERVER": server, "NO_COLOR": "1"} | environment

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "control_plane.cli.main", *arguments],
            capture_output=True,
            text=True,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
