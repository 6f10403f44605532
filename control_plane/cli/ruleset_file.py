"""The argument of commands that read a ruleset: a file, or the name of one that is shipped."""

from __future__ import annotations

from glob import escape, glob
from pathlib import Path
from typing import Annotated

import typer

from control_plane.cli.client import Exit, Failure
from control_plane.shipped import rulesets


def named_ruleset(text: str, folder: Path | None = None) -> Path:
    """Return the file that a text names; a file of that name goes before a shipped ruleset.

    Args:
        folder: what a relative path starts from; None: the working directory.

    Raises:
        Failure: there is neither.
    """
    path = (folder or Path()) / text
    if path.is_file():
        return path
    shipped = rulesets()
    if text in shipped:
        return shipped[text]
    what = "is a folder" if path.is_dir() else "is no file"
    names = ", ".join(shipped)
    raise Failure(f"{path} {what}; the rulesets that come with cellway are {names}", Exit.USAGE)


def _complete(incomplete: str) -> list[str]:
    names = [name for name in rulesets() if name.startswith(incomplete)]
    return [*names, *sorted(glob(f"{escape(incomplete)}*"))]  # noqa: PTH207 - keeps "./" as typed


_HELP = "a ruleset (JSON), or the name of one that comes with cellway: gitlab"
RulesetFile = Annotated[
    Path,
    typer.Argument(help=_HELP, autocompletion=_complete, parser=named_ruleset, metavar="FILE|NAME"),
]
RulesetOption = Annotated[
    Path | None,
    typer.Option(
        help="use this ruleset (a file or a name), not that of the cases",
        autocompletion=_complete,
        parser=named_ruleset,
        metavar="FILE|NAME",
    ),
]
