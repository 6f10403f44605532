"""``cellway edge-secret``: the secret by which edges show the classifier that they are edges."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from control_plane.cli.context import of
from control_plane.cli.output import messages, table_of_items

app = typer.Typer(
    no_args_is_help=True, help="The secret by which edges ask the classifier. It is never shown."
)
_COLUMNS = {"GENERATION": "generation", "SINCE": "rotated_at", "GRACE S": "grace_s"}


@app.command("show")
def show(ctx: typer.Context) -> None:
    """Show which generation of the secret edges are sent."""
    _show(ctx, of(ctx).client.get("/v1/edge-secret"))


@app.command("rotate")
def rotate(
    ctx: typer.Context,
    force: Annotated[
        bool, typer.Option("--force", help="although an Envoy lags, or right after a rotation")
    ] = False,
) -> None:
    """Send edges a new secret; classifiers still accept the one before.

    A secret that has leaked is useless after two rotations. Wait for the fleet in between.

    Example: cellway edge-secret rotate --wait --yes
    """
    of(ctx).confirm("send all edges a new secret?")
    answer = of(ctx).write("POST", "/v1/edge-secret/rotate", force=force)
    messages.print("would be rotated" if answer.get("dry_run") else "rotated")
    _show(ctx, answer)


def _show(ctx: typer.Context, answer: dict[str, Any]) -> None:
    of(ctx).show(answer, table_of_items(_COLUMNS, [answer["edge_secret"]]))
