"""``cellway claims export``: all claims as NDJSON, through the API, a page at a time, resumable."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import TextColumn

from control_plane.cli.answers import not_ours
from control_plane.cli.client import Client, Exit, Failure
from control_plane.cli.context import of
from control_plane.cli.output import messages
from control_plane.cli.progress import progress_bar
from control_plane.names import MAX_LINE_BYTES, NEXT_HEADER

STDOUT = "-"


def export_claims(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(help="where to; - is stdout")] = STDOUT,
    resume: Annotated[bool, typer.Option(help="go on after the file's last whole line")] = False,
) -> None:
    """Write every claim as a line of NDJSON, in the order of their keys."""
    path = None if file == STDOUT else Path(file)
    if resume and path is None:
        raise Failure("what went to stdout can't be resumed; give a file", Exit.USAGE)
    if path is not None and path.exists() and not resume:
        raise Failure(f"{file} is there already; --resume goes on with it", Exit.CONFLICT)
    after = cursor_after(path) if path is not None and resume else None
    lines = 0
    with ExitStack() as stack:
        sink = stack.enter_context(path.open("ab")) if path else sys.stdout.buffer
        bar = stack.enter_context(
            progress_bar(TextColumn("{task.description}"), TextColumn("{task.completed} claims"))
        )
        task = bar.add_task("export", total=None)
        for content in _pages(of(ctx).client, after):
            sink.write(content)
            sink.flush()
            lines += content.count(b"\n")
            bar.update(task, completed=lines)
    messages.print(f"exported {lines} claims")


def _pages(client: Client, after: str | None) -> Iterator[bytes]:
    """Yield whole lines, page after page, from after a cursor to the end."""
    while True:
        page = client.call("GET", "/v1/claims/export", params={"after": after})
        if not page.headers.get("content-type", "").startswith("application/x-ndjson"):
            raise not_ours(page)
        yield page.content
        after = page.headers.get(NEXT_HEADER)
        if after is None:
            return


def cursor_after(path: Path) -> str | None:
    """Cut off what follows a file's last whole line, and return the API's cursor after that line.

    Returns:
        The cursor: the key of the line's claim as JSON, in base64url without padding. None if the
        file holds no whole line, or does not exist.

    Raises:
        Failure: the line is no claim.
    """
    if not path.exists():
        return None
    line = _last_line(path)
    if not line:
        return None
    try:
        claim = json.loads(line)
        key = [claim["bucket"], claim["value"]]
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"{path} ends with a line that is no claim: {error}", Exit.USAGE) from error
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def _last_line(path: Path) -> bytes:
    """Cut off what follows a file's last whole line, and return that line."""
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        start = max(0, size - 2 * MAX_LINE_BYTES)
        file.seek(start)
        tail = file.read()
        end = tail.rfind(b"\n") + 1
        file.truncate(start + end)
    return tail[:end].rstrip(b"\n").rpartition(b"\n")[2]
