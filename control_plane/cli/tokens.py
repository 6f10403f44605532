"""``cellway token``: who may call the API."""

from __future__ import annotations

from typing import Annotated

import typer

from control_plane.cli.client import resource
from control_plane.cli.context import of
from control_plane.cli.options import seconds
from control_plane.cli.output import Format, messages, table_of_items

app = typer.Typer(no_args_is_help=True, help="Tokens: who may call the API.")
_COLUMNS = {
    "ID": "id", "NAME": "name", "SCOPE": "scope", "CREATED": "created_at", "BY": "created_by",
    "EXPIRES": "expires_at", "REVOKED": "revoked_at",
}  # fmt: skip


@app.command("create")
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="whom it is for, e.g. ci; no two have the same")],
    scope: Annotated[
        str, typer.Option(help="viewer (reads), operator (also writes) or admin (also tokens)")
    ] = "viewer",
    expires: Annotated[
        str | None, typer.Option(help="how long it is valid: 12h or 90d; default: for ever")
    ] = None,
) -> None:
    """Create a token and print its secret, which is never shown again.

    Example: cellway token create ci --scope operator --expires 90d
    """
    life_s = seconds("--expires", expires, units="hd", example="12h or 90d") if expires else None
    body = {"name": name, "scope": scope, "expires_in_s": life_s}
    answer = of(ctx).write("POST", "/v1/tokens", body)
    until = answer["token"]["expires_at"] or "it is revoked"
    if answer.get("dry_run"):
        messages.print(f"would make {name} ({scope}), valid until {until}", markup=False)
    else:
        messages.print(f"{name} ({scope}), valid until {until}: keep it safe", markup=False)
    if of(ctx).output is Format.TABLE and "secret" in answer:
        print(answer["secret"])
    else:
        of(ctx).show(answer)


@app.command("list")
def list_tokens(ctx: typer.Context) -> None:
    """List all tokens without their secrets, revoked and expired ones too."""
    items = of(ctx).client.get("/v1/tokens")["items"]
    of(ctx).show(items, table_of_items(_COLUMNS, items))


@app.command("revoke")
def revoke(
    ctx: typer.Context, token: Annotated[str, typer.Argument(help="its id, or its name")]
) -> None:
    """Revoke a token: from now on every request with it is refused."""
    of(ctx).confirm(f"revoke token {token}?")
    answer = of(ctx).write("DELETE", resource("tokens", token))
    messages.print("would be revoked" if answer.get("dry_run") else "revoked")
    of(ctx).show(answer)
