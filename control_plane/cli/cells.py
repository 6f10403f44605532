"""``cellway cells``: list, get, add, set, remove."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from control_plane.cli import sequences
from control_plane.cli.answers import not_ours
from control_plane.cli.client import Exit, Failure, resource
from control_plane.cli.context import of
from control_plane.cli.options import CellName, Confirm, Force, IfMatch, Why
from control_plane.cli.output import messages, table_of

app = typer.Typer(no_args_is_help=True, help="Cells: where tenants live.")
app.add_typer(sequences.app, name="sequences")

NewName = Annotated[str, typer.Argument(help="its name: 1 to 63 of a-z, 0-9 and -")]
_STATES = "provisioning, canary, active, cordoned, draining, drained or retired"
_WEIGHT = "its share of new traffic beside the weights of other cells, 0 to 1000"
_ENDPOINT = "host:port where Envoys reach it; repeat for more"
Address = Annotated[str, typer.Option(help="public host[:port] of the cell")]
Prefix = Annotated[str | None, typer.Option(help="what its session cookies begin with")]
HealthPath = Annotated[str | None, typer.Option(help="path that is probed, e.g. /-/health")]


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
    of(ctx).show(items, table_of(columns, rows))


@app.command("get")
def get_cell(ctx: typer.Context, name: CellName) -> None:
    """Show one cell."""
    of(ctx).show(of(ctx).client.get(resource("cells", name)))


@app.command("add")
def add_cell(
    ctx: typer.Context,
    name: NewName,
    address: Address,
    endpoint: Annotated[list[str], typer.Option(help=_ENDPOINT)],
    session_prefix: Prefix = None,
    state: Annotated[str, typer.Option(help=_STATES)] = "provisioning",
    weight: Annotated[int, typer.Option(help=_WEIGHT)] = 100,
    health_check_path: HealthPath = None,
    id: Annotated[int | None, typer.Option("--id", help="default: the next free one")] = None,  # noqa: A002
    label: Annotated[list[str] | None, typer.Option(help="key=value; repeat for more")] = None,
) -> None:
    """Add a cell.

    Example: cellway cells add c1 --address c1.example --endpoint 10.0.0.1:443 --state active
    """
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
    _show_change(ctx, of(ctx).write("POST", "/v1/cells", body))


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise Failure(f"{text!r} is no label; write region=eu", Exit.USAGE)
    return key, value


@app.command("set")
def set_cell(
    ctx: typer.Context,
    name: CellName,
    state: Annotated[str | None, typer.Option(help=_STATES)] = None,
    weight: Annotated[int | None, typer.Option(help=_WEIGHT)] = None,
    endpoint: Annotated[list[str] | None, typer.Option(help=f"{_ENDPOINT}; replaces all")] = None,
    address: Annotated[str | None, typer.Option(help="public host[:port] of the cell")] = None,
    session_prefix: Prefix = None,
    health_check_path: HealthPath = None,
    if_match: IfMatch = None,
    force: Force = False,
    reason: Why = None,
    confirm: Confirm = None,
) -> None:
    """Change attributes of a cell; those that are not given stay.

    A cell that owns claims can't be drained or retired: move its tenants first. --force does it
    all the same, with a reason, and when the cell's name has been typed.

    Example: cellway cells set c1 --state draining --reason "hardware is replaced" --wait
    """
    if force and reason is None:
        raise Failure("--force needs --reason: say why a guard is overridden", Exit.USAGE)
    attributes: dict[str, Any] = {
        "state": state,
        "weight": weight,
        "endpoints": endpoint,
        "address": address,
        "session_prefix": session_prefix,
        "health_check_path": health_check_path,
    }
    patch = {key: value for key, value in attributes.items() if value is not None}
    if not patch:
        raise Failure("nothing to change; give --state, --weight, …", Exit.USAGE)
    etag = if_match or _etag(ctx, name)
    if force:
        of(ctx).confirm_by_name(f"change {name} whatever its guards say", name, confirm)
    path = resource("cells", name)
    answer = of(ctx).write("PATCH", path, patch, force=force, reason=reason, if_match=etag)
    _show_change(ctx, answer)


@app.command("remove")
def remove_cell(ctx: typer.Context, name: CellName, reason: Why = None) -> None:
    """Delete a cell that is retired and owns no claim."""
    etag = _etag(ctx, name)
    of(ctx).confirm(f"delete cell {name}?")
    path = resource("cells", name)
    _show_change(ctx, of(ctx).write("DELETE", path, reason=reason, if_match=etag))


def _etag(ctx: typer.Context, name: str) -> str:
    """Return the ETag of a cell as it is now."""
    answer = of(ctx).client.call("GET", resource("cells", name))
    if "etag" not in answer.headers:
        raise not_ours(answer)
    return answer.headers["etag"]


def _show_change(ctx: typer.Context, answer: dict[str, Any]) -> None:
    prefix = "would change" if answer.get("dry_run") else f"revision {answer['revision']}:"
    messages.print(f"{prefix} {answer['cell']['name']} ({answer['cell']['state']})")
    of(ctx).show(answer if answer.get("dry_run") else answer["cell"])
