"""``cellway cells sequences``: ranges of ids that no two cells ever share."""

from __future__ import annotations

from typing import Annotated

import typer

from control_plane.cli.client import resource
from control_plane.cli.context import of
from control_plane.cli.options import CellName, IfMatch
from control_plane.cli.output import messages, table_of

app = typer.Typer(no_args_is_help=True, help="Ranges of ids that no two cells ever share.")


@app.command("list")
def list_sequences(ctx: typer.Context) -> None:
    """List how many ids each cell has been allotted and has used."""
    answer = of(ctx).client.get("/v1/sequences")
    if answer["mark"]["restored"]:
        text = "the database is older than the mark file: run cellway cells sequences confirm"
        messages.print(f"ALARM: {text}", style="bold red")
    rows = [
        (one["cell"], one["allotted"], one["used"], f"{one['share']:.1%}",
         "ALLOT MORE" if one["alarming"] else "")
        for one in answer["items"]
    ]  # fmt: skip
    of(ctx).show(answer, table_of(("CELL", "ALLOTTED", "USED", "SHARE", ""), rows))


@app.command("show")
def show_sequences(ctx: typer.Context, cell: CellName) -> None:
    """Show a cell's ranges, and how many of their ids it has used."""
    of(ctx).show(of(ctx).client.get(resource("cells", cell, "sequences")))


@app.command("allot")
def allot(
    ctx: typer.Context,
    cell: CellName,
    size: Annotated[
        int | None, typer.Option(min=1, help="how many ids; default: 100 thousand million")
    ] = None,
    if_match: IfMatch = None,
) -> None:
    """Give a cell the next range of ids, above all that any cell was ever allotted."""
    body = {} if size is None else {"size": size}
    path = resource("cells", cell, "sequences")
    answer = of(ctx).write("POST", path, body, if_match=if_match)
    span = answer["range"]
    verb = "would allot" if answer.get("dry_run") else f"revision {answer['revision']}: allotted"
    messages.print(f"{verb} {span['minval']}..{span['maxval']} to {cell}")
    of(ctx).show(answer)


@app.command("report")
def report(
    ctx: typer.Context,
    cell: CellName,
    last: Annotated[int, typer.Argument(min=1, help="the highest id that it has used")],
) -> None:
    """Record the highest id that a cell has used."""
    path = resource("cells", cell, "sequences", "report")
    of(ctx).show(of(ctx).write("POST", path, {"last": last}))


@app.command("confirm")
def confirm(ctx: typer.Context) -> None:
    """Allot ids again after a restore: from now on above the highest in the mark file."""
    of(ctx).confirm("take the mark file as true?")
    of(ctx).show(of(ctx).write("POST", "/v1/sequences/confirm"))
