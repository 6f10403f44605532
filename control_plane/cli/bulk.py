"""``cellway claims import|export``: NDJSON through the API, a piece at a time, resumable."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TextIO

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from control_plane.cli.client import Client, Exit, Failure
from control_plane.cli.context import of
from control_plane.cli.output import messages, show
from control_plane.names import MAX_LINE_BYTES, NEXT_HEADER

PIECE_LINES = 5000
PIECE_BYTES = 1_500_000
"""One request, one transaction; below what the API takes at most."""
STDIN = "-"
Take = Callable[[list[str], int], dict[str, Any]]
"""Claims lines, the first of which has this number; says what became of them."""
_PROGRESS_SUFFIX = ".import-progress"


@dataclass(slots=True)
class _State:
    """What is done of a file: ``offset`` bytes, ``lines`` lines."""

    offset: int = 0
    lines: int = 0
    created: int = 0
    present: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class _Piece:
    first: int
    lines: list[str]
    broken: list[tuple[int, str]]
    """Lines that are not even text, by number."""
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class _Line:
    """``text`` is empty where ``broken`` says why: the numbers of other lines stay right."""

    text: str
    size: int
    broken: str | None = None


def _lines(file: BinaryIO) -> Iterator[_Line]:
    while raw := file.readline(MAX_LINE_BYTES + 1):
        size = len(raw)
        if size > MAX_LINE_BYTES and not raw.endswith(b"\n"):
            while (more := file.readline(MAX_LINE_BYTES)) and not more.endswith(b"\n"):
                size += len(more)
            yield _Line("", size + len(more), f"is longer than {MAX_LINE_BYTES} bytes")
            continue
        try:
            yield _Line(raw.decode().rstrip("\r\n"), size)
        except UnicodeDecodeError as error:
            yield _Line("", size, f"is not UTF-8: {error}")


def _pieces(file: BinaryIO, done: int) -> Iterator[_Piece]:
    piece: list[_Line] = []
    size = 0
    for line in _lines(file):
        if piece and (len(piece) == PIECE_LINES or size + line.size > PIECE_BYTES):
            yield _piece(done, piece, size)
            done, piece, size = done + len(piece), [], 0
        piece.append(line)
        size += line.size
    if piece:
        yield _piece(done, piece, size)


def _piece(done: int, lines: list[_Line], size: int) -> _Piece:
    broken = [(done + at, line.broken) for at, line in enumerate(lines, 1) if line.broken]
    return _Piece(done + 1, [line.text for line in lines], broken, len(lines), size)


def import_claims(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(help="NDJSON, one claim a line; - is stdin")],
    rejects: Annotated[
        Path | None, typer.Option(help="where lines go that can't be taken, with reasons")
    ] = None,
    resume: Annotated[bool, typer.Option(help="go on where an import broke off")] = False,
    database_url: Annotated[
        str | None, typer.Option(help="straight into this database, past the API")
    ] = None,
) -> None:
    """Claim what a file says: what stands already is fine, what can't be taken is told."""
    path = None if file == STDIN else Path(file)
    if path is not None and not path.is_file():
        raise Failure(f"there is no file {file}", Exit.USAGE)
    if resume and path is None:
        raise Failure("what came from stdin can't be resumed; send it all again", Exit.USAGE)
    notes = path.with_name(path.name + _PROGRESS_SUFFIX) if path else None
    state = _noted(notes) if resume and notes else _State()
    with ExitStack() as stack:
        source: BinaryIO = stack.enter_context(path.open("rb")) if path else sys.stdin.buffer
        if state.offset:
            source.seek(state.offset)
        told = rejects.open("a" if resume else "w") if rejects else None
        if told is not None:
            stack.callback(told.close)
        take = _through(of(ctx).client, of(ctx).dry_run)
        if database_url is not None:
            from control_plane.cli import local

            actor = of(ctx).client.actor
            take = stack.enter_context(
                local.importing(database_url, actor=actor, dry_run=of(ctx).dry_run)
            )
        size = path.stat().st_size if path else None
        bar = stack.enter_context(_bar())
        task = bar.add_task("import", total=size, completed=state.offset)
        for piece in _pieces(source, state.lines):
            _send(take, piece, state, told)
            if notes is not None and not of(ctx).dry_run:
                _note(notes, state)
            bar.update(task, completed=state.offset)
    if notes is not None and not of(ctx).dry_run:
        notes.unlink(missing_ok=True)
    _tell(ctx, state, rejects)


def _through(client: Client, dry_run: bool) -> Take:
    def take(lines: list[str], first: int) -> dict[str, Any]:
        answer: dict[str, Any] = client.call(
            "POST",
            "/v1/claims/import",
            content="\n".join(lines).encode(),
            params={"first_line": first, "dry_run": dry_run or None},
            headers={"content-type": "application/x-ndjson"},
        ).json()
        return answer

    return take


def _send(take: Take, piece: _Piece, state: _State, rejects: TextIO | None) -> None:
    try:
        answer = take(piece.lines, piece.first)
    except Failure as failure:
        text = f"{failure}\n  up to line {state.lines} all is done; go on with --resume"
        raise Failure(text, failure.status) from failure
    broken = [{"line": n, "reason": why, "text": ""} for n, why in piece.broken]
    refused = sorted([*answer["rejects"], *broken], key=lambda one: one["line"])
    for one in refused:
        if rejects is None:
            messages.print(f"line {one['line']}: {one['reason']}", markup=False)
        else:
            rejects.write(json.dumps(one, ensure_ascii=False) + "\n")
    if rejects is not None:
        rejects.flush()
    state.offset += piece.size
    state.lines += piece.count
    state.created += answer["created"]
    state.present += answer["present"]
    state.rejected += len(refused)


def _noted(notes: Path) -> _State:
    try:
        return _State(**json.loads(notes.read_text()))
    except FileNotFoundError as error:
        raise Failure(f"there is nothing to resume: no {notes}", Exit.NOT_FOUND) from error
    except (ValueError, TypeError) as error:
        raise Failure(f"{notes} is not what import writes: {error}", Exit.USAGE) from error


def _note(notes: Path, state: _State) -> None:
    new = notes.with_name(notes.name + ".new")
    new.write_text(json.dumps(asdict(state)))
    new.replace(notes)


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    tty = sys.stderr.isatty()
    return Progress(*columns, TimeRemainingColumn(), console=messages, disable=not tty)


def _tell(ctx: typer.Context, state: _State, rejects: Path | None) -> None:
    dry = of(ctx).dry_run
    body: dict[str, Any] = {key: v for key, v in asdict(state).items() if key != "offset"}
    show(body | ({"dry_run": True} if dry else {}), of(ctx).output)
    if state.rejected:
        where = f"; see {rejects}" if rejects else ""
        raise Failure(f"{state.rejected} of {state.lines} lines were not taken{where}")
    messages.print(f"{'would be ' if dry else ''}done: {state.lines} lines")


def export_claims(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(help="where to; - is stdout")] = STDIN,
    resume: Annotated[bool, typer.Option(help="go on after a file's last whole line")] = False,
) -> None:
    """Write every claim as a line of NDJSON, in the order of keys."""
    path = None if file == STDIN else Path(file)
    if resume and path is None:
        raise Failure("what went to stdout can't be resumed", Exit.USAGE)
    if path is not None and path.exists() and not resume:
        raise Failure(f"{file} is there already; --resume goes on with it", Exit.CONFLICT)
    after = _last(path) if path is not None and resume else None
    lines = 0
    with ExitStack() as stack:
        sink = stack.enter_context(path.open("ab")) if path else sys.stdout.buffer
        columns = (TextColumn("{task.description}"), TextColumn("{task.completed} claims"))
        bar = stack.enter_context(
            Progress(*columns, console=messages, disable=not sys.stderr.isatty())
        )
        task = bar.add_task("export", total=None)
        client = of(ctx).client
        while True:
            page = client.call("GET", "/v1/claims/export", params={"after": after})
            sink.write(page.content)
            sink.flush()
            lines += page.content.count(b"\n")
            bar.update(task, completed=lines)
            after = page.headers.get(NEXT_HEADER)
            if after is None:
                break
    messages.print(f"exported {lines} claims")


def _last(path: Path) -> str | None:
    """A cursor after a file's last whole line; what follows that line is cut off."""
    if not path.exists():
        return None
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        start = max(0, size - 2 * MAX_LINE_BYTES)
        file.seek(start)
        tail = file.read()
        whole = tail.rfind(b"\n") + 1
        file.truncate(start + whole)
        if not whole:
            return None
        line = tail[:whole].rstrip(b"\n").rpartition(b"\n")[2]
    try:
        found = json.loads(line)
        key = [found["bucket"], found["value"]]
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"{path} ends with a line that is no claim: {error}", Exit.USAGE) from error
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")
