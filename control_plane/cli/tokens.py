"""``cellway token``."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from control_plane.cli.client import Exit, Failure, resource
from control_plane.cli.context import of
from control_plane.cli.output import Format, messages, show, table_of

app = typer.Typer(no_args_is_help=True, help="Who may call the API.")
_LIFE = re.compile(r"([0-9]{1,6})([hd])\Z")
_UNIT_S = {"h": 3600, "d": 86400}


def _life(text: str) -> int:
    found = _LIFE.match(text)
    if found is None:
        raise Failure(f"--expires {text!r} is no time; write 12h or 90d", Exit.USAGE)
    return int(found[1]) * _UNIT_S[found[2]]


@app.command("create")
def create(
    ctx: typer.Context,
    name: str,
    scope: Annotated[str, typer.Option(help="viewer, operator or admin")] = "viewer",
    expires: Annotated[str | None, typer.Option(help="12h, 90d; default: never")] = None,
) -> None:
    """Make a token and print its secret: it is not shown again."""
    body = {"name": name, "scope": scope, "expires_in_s": _life(expires) if expires else None}
    answer = of(ctx).client.call("POST", "/v1/tokens", body=body, params=of(ctx).write_params())
    made = answer.json()
    until = made["token"]["expires_at"] or "it is revoked"
    if made.get("dry_run"):
        messages.print(f"would make {name} ({scope}), valid until {until}", markup=False)
    else:
        messages.print(f"{name} ({scope}), valid until {until}: keep it safe", markup=False)
    if of(ctx).output is Format.TABLE and "secret" in made:
        print(made["secret"])
    else:
        show(made, of(ctx).output)


@app.command("list")
def list_tokens(ctx: typer.Context) -> None:
    """Every token that there ever was, without its secret."""
    items = of(ctx).client.get("/v1/tokens")["items"]
    keys = ("id", "name", "scope", "created_at", "created_by", "expires_at", "revoked_at")
    columns = ("ID", "NAME", "SCOPE", "CREATED", "BY", "EXPIRES", "REVOKED")
    show(items, of(ctx).output, table_of(columns, [[one[key] for key in keys] for one in items]))


@app.command("revoke")
def revoke(
    ctx: typer.Context, token: Annotated[str, typer.Argument(help="its id, or its name")]
) -> None:
    """End a token: the next request with it is refused."""
    of(ctx).confirm(f"revoke token {token}?")
    answer = (
        of(ctx)
        .client.call("DELETE", resource("tokens", token), params=of(ctx).write_params())
        .json()
    )
    messages.print("would be revoked" if answer.get("dry_run") else "revoked")
    show(answer, of(ctx).output)
