"""``cellway audit``: who did what."""

from __future__ import annotations

from typing import Annotated

import typer

from control_plane.cli.changes import show_changes
from control_plane.cli.context import of
from control_plane.cli.options import Limit, claim_key
from control_plane.cli.output import messages, say_more


def audit(
    ctx: typer.Context,
    claim: Annotated[
        str | None,
        typer.Argument(help="only of this claim: bucket:value, e.g. route:gitlab-org"),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="only changes of a kind: cell, claim, lease, ruleset, …")
    ] = None,
    actor: Annotated[str | None, typer.Option(help="only by exactly this actor")] = None,
    limit: Limit = 100,
) -> None:
    """Show who did what, the newest first; of a claim also what became of its leases."""
    params = {"kind": kind, "actor": actor}
    if claim is not None:
        params |= claim_key(claim)
    client = of(ctx).client
    items, more = client.items("/v1/audit", limit, **params)
    show_changes(ctx, items)
    if more:
        say_more(limit)
    elif oldest := client.get("/v1/audit", limit=1)["oldest"]:
        messages.print(f"what was up to revision {oldest} is no longer kept")
