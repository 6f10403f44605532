"""``cellway operations``, and how other commands wait for one."""

from __future__ import annotations

import sys
import time
from typing import Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from control_plane.cli.client import Exit, Failure, resource
from control_plane.cli.context import of
from control_plane.cli.output import messages, show, table_of

app = typer.Typer(no_args_is_help=True, help="What takes longer than a request.")
POLL_S = 0.2
_COLUMNS = ("ID", "KIND", "TARGET", "STATE", "DONE", "TOTAL", "STARTED", "ACTOR", "DETAIL")


def _row(one: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(
        one[key]
        for key in (
            "id", "kind", "target", "state", "done", "total", "started_at", "actor", "detail",
        )
    )  # fmt: skip


@app.command("list")
def list_operations(ctx: typer.Context) -> None:
    """The last operations, the newest first."""
    items = of(ctx).client.get("/v1/operations")["items"]
    show(items, of(ctx).output, table_of(_COLUMNS, map(_row, items)))


@app.command("get")
def get_operation(ctx: typer.Context, operation: str) -> None:
    """Show how far an operation is."""
    show(of(ctx).client.get(resource("operations", operation)), of(ctx).output)


def bar() -> Progress:
    """A progress bar on stderr, if that is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=messages, disable=not sys.stderr.isatty())


def wait_for(ctx: typer.Context, answer: dict[str, Any]) -> None:
    """Wait until an operation has ended and show it; raises `Failure` unless it is done."""
    if answer.get("dry_run"):
        messages.print(f"would do {answer['kind']} of {answer['target']}: {answer['total']}")
        show(answer, of(ctx).output)
        return
    operation = answer["operation"]
    messages.print(f"operation {operation['id']}: goes on without this command", markup=False)
    client = of(ctx).client
    with bar() as progress:
        task = progress.add_task(operation["kind"], total=operation["total"])
        while operation["state"] == "running":
            time.sleep(POLL_S)
            operation = client.get(resource("operations", operation["id"]))
            progress.update(task, completed=operation["done"])
    show(operation, of(ctx).output)
    if operation["state"] != "done":
        detail = operation["detail"] or "start it again: it goes on where it was"
        raise Failure(f"{operation['kind']} is {operation['state']}: {detail}", Exit.ERROR)
