"""``cellway operations``: work in the background, and how other commands wait for it."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from control_plane.cli.client import Failure, resource
from control_plane.cli.context import of
from control_plane.cli.output import messages, table_of_items
from control_plane.cli.progress import progress_bar

app = typer.Typer(no_args_is_help=True, help="Operations: work that takes longer than one request.")
POLL_S = 0.2
_COLUMNS = {
    "ID": "id", "KIND": "kind", "TARGET": "target", "STATE": "state", "DONE": "done",
    "TOTAL": "total", "STARTED": "started_at", "ACTOR": "actor", "DETAIL": "detail",
}  # fmt: skip


@app.command("list")
def list_operations(ctx: typer.Context) -> None:
    """List the last operations, the newest first."""
    items = of(ctx).client.get("/v1/operations")["items"]
    of(ctx).show(items, table_of_items(_COLUMNS, items))


@app.command("get")
def get_operation(
    ctx: typer.Context, operation: Annotated[str, typer.Argument(help="its id")]
) -> None:
    """Show the state of an operation, and how far it is."""
    of(ctx).show(of(ctx).client.get(resource("operations", operation)))


def wait_for(ctx: typer.Context, answer: dict[str, Any]) -> None:
    """Wait until an operation has ended, and show it.

    Args:
        answer: what the API said when the operation was started; or would have, with --dry-run.

    Raises:
        Failure: the operation ended without being done.
    """
    if answer.get("dry_run"):
        messages.print(f"would do {answer['kind']} of {answer['target']}: {answer['total']}")
        of(ctx).show(answer)
        return
    operation = answer["operation"]
    messages.print(f"operation {operation['id']}: goes on without this command", markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with progress_bar(*columns) as progress:
        task = progress.add_task(operation["kind"], total=operation["total"])
        while operation["state"] == "running":
            time.sleep(POLL_S)
            operation = of(ctx).client.get(resource("operations", operation["id"]))
            progress.update(task, completed=operation["done"])
    of(ctx).show(operation)
    if operation["state"] != "done":
        detail = operation["detail"] or "start it again: it goes on where it was"
        raise Failure(f"{operation['kind']} is {operation['state']}: {detail}")
