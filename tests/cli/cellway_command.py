"""The ``cellway`` command as tests run it: in this process, or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from unittest.mock import patch

from typer.testing import CliRunner

from control_plane.cli import main


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


class Cellway:
    """Runs the command against one server, without a terminal."""

    def __init__(self, server: str, **environment: str) -> None:
        self._environment = {"CELLWAY_SERVER": server, "NO_COLOR": "1"} | environment

    def __call__(self, *arguments: str, stdin: str = "") -> Ended:
        """Run the command in this process: it starts a hundred times faster than Python does."""
        runner = CliRunner(env=self._environment)
        status = 0
        with runner.isolation(stdin) as (stdout, stderr, _):
            with patch.object(sys, "argv", ["cellway", *arguments]):
                try:
                    main.main()
                except SystemExit as ended:
                    status = ended.code if isinstance(ended.code, int) else 1
            sys.stdout.flush()
            sys.stderr.flush()
            return Ended(status, stdout.getvalue().decode(), stderr.getvalue().decode())

    def started(self, *arguments: str) -> Ended:
        """Run the command as a process, as a user does."""
        done = subprocess.run(
            [sys.executable, "-m", "control_plane.cli.main", *arguments],
            capture_output=True,
            text=True,
            env=os.environ | self._environment,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)
