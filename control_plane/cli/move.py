"""``cellway move``: plan, preflight, rehearse, freeze, verified, switch, complete, rollback, …"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from control_plane.cli.client import resource
from control_plane.cli.context import of
from control_plane.cli.move_options import PlanOptions
from control_plane.cli.options import Limit, with_options
from control_plane.cli.output import Format, messages, say_more, table_of

app = typer.Typer(no_args_is_help=True, help="Moves: a tenant changes its cell, step by step.")
Number = Annotated[int, typer.Argument(min=1, help="the move's number")]
Why = Annotated[str, typer.Option("--reason", help="why you do it; stays in the audit")]
MoveMatch = Annotated[
    str | None, typer.Option("--if-match", help="do nothing unless the move has this ETag: '\"7\"'")
]


@app.command("list")
def list_moves(ctx: typer.Context, limit: Limit = 100) -> None:
    """List moves, the newest first."""
    items, more = of(ctx).client.items("/v1/moves", limit)
    rows = [
        (one["id"], one["state"], one["source"], one["target"], one["claims"], one["updated_at"])
        for one in items
    ]
    of(ctx).show(items, table_of(("MOVE", "STATE", "FROM", "TO", "CLAIMS", "UPDATED"), rows))
    if more:
        say_more(limit)


@app.command("status")
def status(ctx: typer.Context, move: Number) -> None:
    """Show a move, what keeps it from switching, and what comes next."""
    of(ctx).show(of(ctx).client.get(resource("moves", str(move))))


@app.command("plan")
@with_options(PlanOptions)
def plan(ctx: typer.Context, options: PlanOptions) -> None:
    """Plan a move of claims. Nothing changes for requests.

    Example: cellway move plan --subject acme --from c1 --to c2 --reason "ticket 7"
    """
    _show(ctx, of(ctx).write("POST", "/v1/moves", options.body()))


@app.command("preflight")
def preflight(ctx: typer.Context, move: Number) -> None:
    """Check what can be checked before anything changes: cells, claims, leases, the way back."""
    _step(ctx, move, "preflight")


@app.command("rehearse")
def rehearse(ctx: typer.Context, move: Number) -> None:
    """Send the plan's test users to the target."""
    _step(ctx, move, "rehearse")


@app.command("freeze")
def freeze(ctx: typer.Context, move: Number, if_match: MoveMatch = None) -> None:
    """Refuse what the plan refuses; with --wait, until every Envoy is known to do so.

    Example: cellway move freeze 7 --wait
    """
    of(ctx).confirm(f"freeze the claims of move {move}?")
    _step(ctx, move, "freeze", if_match=if_match)


@app.command("verified")
def verified(
    ctx: typer.Context,
    move: Number,
    back: Annotated[bool, typer.Option("--back", help="the data can come back")] = False,
    forth: Annotated[bool, typer.Option("--forth", help="the data is at the target")] = False,
    detail: Annotated[str, typer.Option(help="what was compared; stays in the audit")] = "",
) -> None:
    """Say that the data is at the target, and that it could come back.

    Example: cellway move verified 7 --back --forth --detail "12,004 rows compared"
    """
    body = {"back": back, "forth": forth, "detail": detail}
    _show(ctx, of(ctx).write("POST", resource("moves", str(move), "verified"), body))


@app.command("switch")
def switch(ctx: typer.Context, move: Number, if_match: MoveMatch = None) -> None:
    """Give all claims of the move to the target; with --wait, until every Envoy runs it.

    Example: cellway move switch 7 --wait
    """
    of(ctx).confirm(f"give the claims of move {move} to the target?")
    _step(ctx, move, "switch", if_match=if_match)


@app.command("complete")
def complete(ctx: typer.Context, move: Number, if_match: MoveMatch = None) -> None:
    """End a move that has switched: after this, nothing leads back."""
    of(ctx).confirm(f"complete move {move}, so that it can't be rolled back?")
    _step(ctx, move, "complete", if_match=if_match)


@app.command("rollback")
def rollback(
    ctx: typer.Context, move: Number, reason: Why = "", if_match: MoveMatch = None
) -> None:
    """Undo a move in any state before completed: the topology only, not the data.

    Example: cellway move rollback 7 --wait --reason "errors at the target"
    """
    of(ctx).confirm(f"roll back move {move}?")
    _step(ctx, move, "rollback", reason, if_match=if_match)


@app.command("certificate")
def certificate(
    ctx: typer.Context,
    move: Number,
    markdown: Annotated[bool, typer.Option("--markdown", help="as a page")] = False,
) -> None:
    """Show what is known of a move, and what is not: its timeline and what the Envoys ran.

    Example: cellway move certificate 7 --markdown
    """
    path = resource("moves", str(move), "certificate")
    if markdown and of(ctx).output is Format.TABLE:
        answer = of(ctx).client.call("GET", path, params={"format": "markdown"})
        print(answer.text, end="")
    else:
        of(ctx).show(of(ctx).client.get(path))


def _step(
    ctx: typer.Context, move: int, step: str, reason: str = "", if_match: str | None = None
) -> None:
    path = resource("moves", str(move), step)
    _show(ctx, of(ctx).write("POST", path, {"reason": reason}, if_match=if_match))


def _show(ctx: typer.Context, answer: dict[str, Any]) -> None:
    move = answer["move"]
    would = "would be" if answer.get("dry_run") else f"revision {answer['revision']}:"
    messages.print(f"move {move['id']} {would} {move['state']}, {move['claims']} claims")
    for problem in move["blocked_by"]:
        messages.print(f"not yet to be switched: {problem}", markup=False)
    if not answer.get("dry_run"):
        messages.print(f"next: {move['next_steps'][0]}", markup=False)
    of(ctx).show_data(answer)
