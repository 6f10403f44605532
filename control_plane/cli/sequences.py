"""``cellway cells sequences``: ranges of ids that no two cells ever share."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from control_plane.cli.client import resource
from control_plane.cli.context import of
from control_plane.cli.output import messages, show, table_of

app = typer.Typer(no_args_is_help=True, help="Ranges of ids that no two cells ever share.")


@app.command("list")
def list_sequences(ctx: typer.Context) -> None:
    """How far each cell's ranges are used."""
    answer = of(ctx).client.get("/v1/sequences")
    if answer["mark"]["restored"]:
        text = "the database is older than the mark file: run cells sequences confirm"
        messages.print(f"ALARM: {text}", style="bold red")
    rows = [
        (one["cell"], one["allotted"], one["used"], f"{one['share']:.1%}",
         "ALLOT MORE" if one["alarming"] else "")
        for one in answer["items"]
    ]  # fmt: skip
    show(answer, of(ctx).output, table_of(("CELL", "ALLOTTED", "USED", "SHARE", ""), rows))


@app.command("show")
def show_sequences(ctx: typer.Context, cell: str) -> None:
    """A cell's ranges, and how far they are used."""
    show(of(ctx).client.get(resource("cells", cell, "sequences")), of(ctx).output)


@app.command("allot")
def allot(
    ctx: typer.Context,
    cell: str,
    size: Annotated[
        int | None, typer.Option(min=1, help="ids; default 100 thousand million")
    ] = None,
    if_match: Annotated[str | None, typer.Option(help="only if the cell has this ETag")] = None,
) -> None:
    """Give a cell the next range, after all that was ever allotted."""
    body = {} if size is None else {"size": size}
    answer = _post(ctx, resource("cells", cell, "sequences"), body, if_match)
    span = answer["range"]
    verb = "would allot" if answer.get("dry_run") else f"revision {answer['revision']}: allotted"
    messages.print(f"{verb} {span['minval']}..{span['maxval']} to {cell}")
    show(answer, of(ctx).output)


@app.command("report")
def report(ctx: typer.Context, cell: str, last: Annotated[int, typer.Argument(min=1)]) -> None:
    """Note the highest id that a cell has handed out."""
    show(_post(ctx, resource("cells", cell, "sequences", "report"), {"last": last}), of(ctx).output)


@app.command("confirm")
def confirm(ctx: typer.Context) -> None:
    """After a restore: take the mark file as true, and allot only above it from now on."""
    of(ctx).confirm("take the mark file as true?")
    show(_post(ctx, "/v1/sequences/confirm", None), of(ctx).output)


def _post(
    ctx: typer.Context, path: str, body: dict[str, Any] | None, if_match: str | None = None
) -> dict[str, Any]:
    headers = {} if if_match is None else {"if-match": if_match}
    params = of(ctx).write_params()
    answer: dict[str, Any] = (
        of(ctx).client.call("POST", path, body=body, params=params, headers=headers).json()
    )
    return answer
