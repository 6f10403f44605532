"""Follows a runbook as an operator would: runs the commands of its page as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.cli.cellway_command import Cellway
from tests.support.postgres import binaries

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
_PROGRAMS = ("cellway", "curl", "openssl", "df", "ss", "fuser", "kill", "ps", "psql")
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_COMMENT = re.compile(r"\s+#.*$")


class Runbook:
    """The page of an alert, and the system whose operator follows it."""

    def __init__(self, page: str, api: str, **environment: str) -> None:
        """Take a page (its name without ``.md``) and the URL of the API."""
        self.text = (RUNBOOKS / f"{page}.md").read_text()
        self._api = api
        self._environment = environment
        self._cellway = Cellway(api, **environment)

    def commands(self) -> list[str]:
        """Return every command of the page, without comments: its blocks and its spans of code."""
        blocks = [line.strip() for line in self.text.splitlines() if line.startswith("    ")]
        spans = [" ".join(span.split()) for span in _SPAN.findall(self.text)]
        lines = [_COMMENT.sub("", line) for line in (*blocks, *spans)]
        return [line for line in lines if line.split(" ")[0] in _PROGRAMS and " " in line]

    def follow(self, start: str, *, yes: bool = False, **words: str) -> str:
        """Run the first command of the page that begins so, and has the words; return what it prints.

        Args:
            start: The command's beginning, as the page has it. No page may lack it.
            yes: Whether the operator is asked before something changes, and says yes.
            words: What the operator puts in place of the page's capitals, such as ``NAME``.
        """
        found = [line for line in self.commands() if line.startswith(start)]
        found = [line for line in found if all(re.search(rf"\b{name}\b", line) for name in words)]
        assert found, f"the page has no command {start!r} with {list(words)}: {self.commands()}"
        line = _filled(found[0], words)
        return self._run(f"{line} --yes" if yes else line)

    def _run(self, line: str) -> str:
        words = shlex.split(line)
        if words[0] == "cellway":
            ended = self._cellway(*words[1:])
            assert ended.returncode == 0, (line, ended)
            return ended.stdout + ended.stderr
        done = subprocess.run(
            ["sh", "-c", line.replace("localhost:8000", self._api_address)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env=os.environ | {"PATH": f"{os.environ['PATH']}:{binaries()}"} | self._environment,
        )
        assert done.returncode == 0, (line, done)
        return done.stdout + done.stderr

    @property
    def _api_address(self) -> str:
        return self._api.removeprefix("http://")


def _filled(line: str, words: Mapping[str, str]) -> str:
    for name, value in words.items():
        line = re.sub(rf"\b{name}\b", value.replace("\\", r"\\"), line)
    return line
