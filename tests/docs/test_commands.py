"""Pages name only commands and options of `cellway` that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from control_plane.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md")])
CODE = re.compile(r"`([^`\n]+)`|^ *(cellway .+)$", re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])(--?[a-z][a-z-]*)")


def options(command: Any) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts} | {"--help"}


ROOT_COMMAND: Any = typer.main.get_command(app)
COMMON = options(ROOT_COMMAND)


def command_lines(text: str) -> Iterator[str]:
    """Yield every line of code that starts with ``cellway`` and a word, without its comment."""
    joined = text.replace("\\\n", " ").replace("\\|", "|")
    for inline, block in CODE.findall(joined):
        line = " ".join((inline or block).split(" #")[0].split())
        if re.match(r"cellway [a-z]", line):
            yield line


def unknown(line: str) -> list[str]:
    """Return the words of a line that name no command or option."""
    command, words = ROOT_COMMAND, line.split()[1:]
    while words and hasattr(command, "commands"):
        name = words.pop(0)
        if name not in command.commands:
            return [name]
        command = command.commands[name]
    options_of_line = OPTION.findall(" ".join(words).partition(" && ")[0])
    return [option for option in options_of_line if option not in COMMON | options(command)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_only_commands_and_options_that_exist(page: Path) -> None:
    lines = command_lines(page.read_text())
    assert {line: words for line in lines if (words := unknown(line))} == {}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cellway cells sequences allot C --size 10", []),
        ("cellway cells sequences allot C --length 10", ["--length"]),
        ("cellway cells sequence list", ["sequence"]),
        ("cellway audit [BUCKET:VALUE] [--kind K]", []),
    ],
)
def test_an_unknown_word_is_noticed(line: str, words: list[str]) -> None:
    assert unknown(line) == words
