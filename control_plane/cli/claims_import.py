"""``cellway claims import``: NDJSON through the API, a piece at a time, resumable.

After each piece the command writes beside the file how far it has come, for example
``claims.ndjson.import-progress``::

    {"offset": 1500000, "lines": 5000, "created": 4990, "present": 8, "rejected": 2}

With --resume it goes on from there. The file is deleted when all is done.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TextIO

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from control_plane.cli.client import Client, Exit, Failure
from control_plane.cli.context import Context, of
from control_plane.cli.import_pieces import Piece, pieces
from control_plane.cli.output import messages
from control_plane.cli.progress import progress_bar

STDIN = "-"
_PROGRESS_SUFFIX = ".import-progress"
Claim = Callable[[list[str], int], dict[str, Any]]
"""Claims what lines say, given the number of the first line.

Returns ``{"created": 3, "present": 1, "rejects": [{"line": 7, "reason": "…", "text": "…"}]}``.
"""


@dataclass(slots=True)
class Done:
    """How far an import has come, and what became of the lines."""

    offset: int = 0
    """Bytes of the file."""
    lines: int = 0
    created: int = 0
    present: int = 0
    """Claims that existed already, as their lines say."""
    rejected: int = 0


def import_claims(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(help="NDJSON, one claim a line; - is stdin")],
    rejects: Annotated[
        Path | None, typer.Option(help="write lines that can't be claimed here, with reasons")
    ] = None,
    resume: Annotated[bool, typer.Option(help="go on where an import broke off")] = False,
    database_url: Annotated[
        str | None, typer.Option(help="write straight into this database, not through the API")
    ] = None,
) -> None:
    """Claim what the lines of a file say, such as those of claims export.

    Claims that exist already as a line says count as present. Lines that can't be claimed are
    reported, all others are imported; then the exit status is 1.

    Example: cellway claims import claims.ndjson --rejects rejects.ndjson
    """
    path = _input(file, resume=resume)
    notes = path.with_name(path.name + _PROGRESS_SUFFIX) if path is not None else None
    done = _read_notes(notes) if resume and notes else Done()
    dry = of(ctx).dry_run
    with ExitStack() as stack:
        source: BinaryIO = stack.enter_context(path.open("rb")) if path else sys.stdin.buffer
        if done.offset:
            source.seek(done.offset)
        rejected = stack.enter_context(rejects.open("a" if resume else "w")) if rejects else None
        claim = stack.enter_context(_claiming(of(ctx), database_url))
        bar = stack.enter_context(progress_bar(*_columns()))
        total = path.stat().st_size if path else None
        task = bar.add_task("import", total=total, completed=done.offset)
        for piece in pieces(source, done.lines):
            _import_piece(claim, piece, done, rejected)
            if notes is not None and not dry:
                _write_notes(notes, done)
            bar.update(task, completed=done.offset)
    if notes is not None and not dry:
        notes.unlink(missing_ok=True)
    _show(of(ctx), done, rejects)


def _input(file: str, *, resume: bool) -> Path | None:
    """Return the file to import; None is stdin."""
    if file == STDIN:
        if resume:
            raise Failure("what came from stdin can't be resumed; send it all again", Exit.USAGE)
        return None
    path = Path(file)
    if not path.is_file():
        raise Failure(f"there is no file {file}", Exit.USAGE)
    return path


@contextmanager
def _claiming(context: Context, database_url: str | None) -> Iterator[Claim]:
    """Yield what claims lines: the API, or a database itself."""
    if database_url is None:
        yield _through_api(context.client, dry_run=context.dry_run)
        return
    from control_plane.cli.local import database

    actor = context.client.actor
    with database.importing(database_url, actor=actor, dry_run=context.dry_run) as claim:
        yield claim


def _through_api(client: Client, *, dry_run: bool) -> Claim:
    def claim(lines: list[str], first: int) -> dict[str, Any]:
        answer: dict[str, Any] = client.document(
            "POST",
            "/v1/claims/import",
            content="\n".join(lines).encode(),
            params={"first_line": first, "dry_run": dry_run or None},
            headers={"content-type": "application/x-ndjson"},
        )
        return answer

    return claim


def _import_piece(claim: Claim, piece: Piece, done: Done, rejects: TextIO | None) -> None:
    """Claim the lines of a piece, report those that can't be claimed, and count all of them."""
    try:
        answer = claim(piece.lines, piece.first)
    except Failure as failure:
        text = f"{failure}\n  up to line {done.lines} all is done; go on with --resume"
        raise Failure(text, failure.status) from failure
    broken = [{"line": n, "reason": why, "text": ""} for n, why in piece.broken]
    rejected = sorted([*answer["rejects"], *broken], key=lambda one: one["line"])
    for one in rejected:
        if rejects is None:
            messages.print(f"line {one['line']}: {one['reason']}", markup=False)
        else:
            rejects.write(json.dumps(one, ensure_ascii=False) + "\n")
    if rejects is not None:
        rejects.flush()
    done.offset += piece.size
    done.lines += len(piece.lines)
    done.created += answer["created"]
    done.present += answer["present"]
    done.rejected += len(rejected)


def _read_notes(notes: Path) -> Done:
    try:
        return Done(**json.loads(notes.read_text()))
    except FileNotFoundError as error:
        raise Failure(f"there is nothing to resume: no {notes}", Exit.NOT_FOUND) from error
    except (ValueError, TypeError) as error:
        raise Failure(f"{notes} is not what import writes: {error}", Exit.USAGE) from error


def _write_notes(notes: Path, done: Done) -> None:
    new = notes.with_name(notes.name + ".new")
    new.write_text(json.dumps(asdict(done)))
    new.replace(notes)


def _columns() -> tuple[ProgressColumn, ...]:
    name = TextColumn("{task.description}")
    return name, BarColumn(), DownloadColumn(), TimeRemainingColumn()


def _show(context: Context, done: Done, rejects: Path | None) -> None:
    """Show what became of the lines.

    Raises:
        Failure: some were rejected.
    """
    counts: dict[str, Any] = {key: n for key, n in asdict(done).items() if key != "offset"}
    context.show(counts | ({"dry_run": True} if context.dry_run else {}))
    if done.rejected:
        where = f"; see {rejects}" if rejects else ""
        raise Failure(f"{done.rejected} of {done.lines} lines were not taken{where}")
    messages.print(f"{'would be ' if context.dry_run else ''}done: {done.lines} lines")
