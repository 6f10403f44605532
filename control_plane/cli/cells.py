"""``cellway cells``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from control_plane.cli import sequences
from control_plane.cli.client import Exit, Failure, resource
from control_plane.cli.context import of
from control_plane.cli.output import messages, show, table_of

app = typer.Typer(no_args_is_help=True, help="Cells: where tenants live.")
app.add_typer(sequences.app, name="sequences")


@app.command("list")
def list_cells(ctx: typer.Context) -> None:
    """List all cells."""
    items = of(ctx).client.get("/v1/cells")["items"]
    rows = [
        (c["id"], c["name"], c["state"], c["weight"], "yes" if c["serving"] else "NO", c["address"],
         c["session_prefix"], ", ".join(c["endpoints"]))
        for c in items
    ]  # fmt: skip
    columns = ("ID", "NAME", "STATE", "WEIGHT", "SERVING", "ADDRESS", "PREFIX", "ENDPOINTS")
    show(items, of(ctx).output, table_of(columns, rows))


@app.command("get")
def get_cell(ctx: typer.Context, name: str) -> None:
    """Show one cell."""
    show(of(ctx).client.get(resource("cells", name)), of(ctx).output)


@app.command("add")
def add_cell(
    ctx: typer.Context,
    name: str,
    address: Annotated[str, typer.Option(help="public host[:port] of the cell")],
    endpoint: Annotated[list[str], typer.Option(help="host:port; repeat for more")],
    session_prefix: Annotated[str | None, typer.Option()] = None,
    state: Annotated[str, typer.Option()] = "provisioning",
    weight: Annotated[int, typer.Option(help="share of new traffic, 0 to 1000")] = 100,
    health_check_path: Annotated[str | None, typer.Option()] = None,
    id: Annotated[int | None, typer.Option("--id", help="default: the next free one")] = None,  # noqa: A002
    label: Annotated[list[str] | None, typer.Option(help="key=value; repeat for more")] = None,
) -> None:
    """Add a cell."""
    body = {
        "name": name,
        "address": address,
        "endpoints": endpoint,
        "session_prefix": session_prefix,
        "state": state,
        "weight": weight,
        "health_check_path": health_check_path,
        "id": id,
        "labels": dict(_label(pair) for pair in label or []),
    }
    response = of(ctx).client.call("POST", "/v1/cells", body=body, params=of(ctx).write_params())
    _done(ctx, response.json())


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise Failure(f"{text!r} is no label; write region=eu", Exit.USAGE)
    return key, value


@app.command("set")
def set_cell(
    ctx: typer.Context,
    name: str,
    state: Annotated[str | None, typer.Option()] = None,
    weight: Annotated[int | None, typer.Option()] = None,
    endpoint: Annotated[list[str] | None, typer.Option()] = None,
    address: Annotated[str | None, typer.Option()] = None,
    session_prefix: Annotated[str | None, typer.Option()] = None,
    health_check_path: Annotated[str | None, typer.Option()] = None,
    if_match: Annotated[str | None, typer.Option(help="only if the cell has this ETag")] = None,
    force: Annotated[bool, typer.Option(help="override a guard")] = False,
) -> None:
    """Change a cell's attributes."""
    client = of(ctx).client
    patch: dict[str, Any] = {
        "state": state,
        "weight": weight,
        "endpoints": endpoint,
        "address": address,
        "session_prefix": session_prefix,
        "health_check_path": health_check_path,
    }
    patch = {key: value for key, value in patch.items() if value is not None}
    if not patch:
        raise Failure("nothing to change; give --state, --weight, …", Exit.USAGE)
    etag = if_match or client.call("GET", resource("cells", name)).headers["etag"]
    response = client.call(
        "PATCH",
        resource("cells", name),
        body=patch,
        params=of(ctx).write_params(force=force),
        headers={"if-match": etag},
    )
    _done(ctx, response.json())


@app.command("remove")
def remove_cell(ctx: typer.Context, name: str) -> None:
    """Delete a retired cell that owns no claim."""
    client = of(ctx).client
    etag = client.call("GET", resource("cells", name)).headers["etag"]
    of(ctx).confirm(f"delete cell {name}?")
    response = client.call(
        "DELETE", resource("cells", name), params=of(ctx).write_params(), headers={"if-match": etag}
    )
    _done(ctx, response.json())


def _done(ctx: typer.Context, answer: dict[str, Any]) -> None:
    prefix = "would change" if answer.get("dry_run") else f"revision {answer['revision']}:"
    messages.print(f"{prefix} {answer['cell']['name']} ({answer['cell']['state']})")
    show(answer if answer.get("dry_run") else answer["cell"], of(ctx).output)
